"""Which file a value of a composed configuration comes from."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from src.runtime import hydra_versions
from src.runtime.config.overrides import CONFIGS


class Source(NamedTuple):
    """A file that takes part in a composition, and the dotted key that its content lands under."""

    path: Path
    package: str


def sources(config_name: str, overrides: Sequence[str]) -> list[Source]:
    """Return the files of a composition in Hydra's order: later ones override earlier ones."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), **hydra_versions.INITIALIZE):
        defaults = (
            GlobalHydra.instance()
            .config_loader()
            .compute_defaults_list(config_name, list(overrides), RunMode.RUN)
            .defaults
        )
    found = [Source(CONFIGS / f"{d.config_path}.yaml", d.package or "") for d in defaults]
    return [source for source in found if source.path.is_file()]


def file_of(key: str, composed_of: Sequence[Source]) -> Path | None:
    """Return the file that sets a key, or the nearest node around it; None if no file does."""
    while key:
        for source in reversed(composed_of):
            inner = key.removeprefix(source.package).lstrip(".")
            if not source.package or key == source.package or key.startswith(source.package + "."):
                content = OmegaConf.load(source.path)
                if isinstance(content, DictConfig) and _holds(content, inner):
                    return source.path
        key = key.rpartition(".")[0]
    return None


def _holds(content: DictConfig, key: str) -> bool:
    """Say whether a file's content has a key, without resolving anything."""
    node: object = content
    for part in key.split(".") if key else ():
        if not isinstance(node, DictConfig) or part not in node:
            return False
        node = node._get_node(part)
    return True
