"""What the tests share: configurations that write to a temporary folder and run on the CPU."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from src.runtime import hydra_versions
from src.runtime.identity import PROJECT_ROOT

Compose = Callable[..., DictConfig]


@pytest.fixture
def composed(tmp_path: Path) -> Compose:
    """Return a function that composes a configuration: CPU, no tracker, output in `tmp_path`."""

    def compose_small(*overrides: str, config_name: str = "train") -> DictConfig:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(PROJECT_ROOT / "configs"), **hydra_versions.INITIALIZE):
            return compose(
                config_name,
                overrides=[
                    f"paths.output_dir={tmp_path}",
                    f"paths.log_dir={tmp_path}",
                    "trainer.accelerator=cpu",
                    "common/logger@logger=none",
                    *overrides,
                ],
            )

    return compose_small
