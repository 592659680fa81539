"""`src/check.py` finds what is wrong in a configuration of the user's own, by file and key."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from src import check
from src.runtime.config import config_sources, json_schema, overrides

BROKEN = {
    "data/broken.yaml": (
        "_target_: src.data.digits_datamodule.DigitsDataModule\nbatch_sise: 3\n",
        "data.batch_sise",
    ),
    "model/net/broken.yaml": (
        "_target_: torch.nn.Linear\nin_features: 3\n",
        "model.net.out_features",
    ),
    "model/optimizer/broken.yaml": (
        "_target_: torch.optim.Adamm\n_partial_: true\n",
        "model.optimizer._target_",
    ),
    "common/callbacks/broken.yaml": (
        "broken:\n  _target_: lightning.pytorch.callbacks.Timer\n  verbose: loud\n",
        "callbacks.broken.verbose",
    ),
    "experiment/broken.yaml": ("# @package _global_\ntrainer:\n  max_epochs: ten\n", "max_epochs"),
}


def test_all_is_well_as_it_comes() -> None:
    for config_name, override in [("train", ""), ("eval", ""), ("train", "model/net=cnn")]:
        assert check.faults(config_name, override) == []
    assert ("train", "experiment=mon_experience") in set(check.compositions())


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a copy of `configs/` that takes the place of the real one."""
    copy = tmp_path / "configs"
    shutil.copytree(overrides.CONFIGS, copy)
    for module in (overrides, config_sources):
        monkeypatch.setattr(module, "CONFIGS", copy)
    monkeypatch.setattr(check, "PROJECT_ROOT", tmp_path)
    overrides.groups.cache_clear()
    yield copy
    overrides.groups.cache_clear()


@pytest.mark.parametrize("file", BROKEN)
def test_a_fault_is_named_by_file_and_key(configs: Path, file: str) -> None:
    content, key = BROKEN[file]
    (configs / file).write_text(content, encoding="utf-8")
    overrides = [o for _, o in check.compositions() if o.endswith(f"={Path(file).stem}")]
    assert len(overrides) == 1
    ((path, sentence), *_) = check.faults("train", overrides[0])
    assert path == f"configs/{file}"
    assert key in sentence


def test_schemas_are_written_for_each_group(configs: Path) -> None:
    written = json_schema.write(configs / "schemas")
    schema = json.loads((configs / "schemas" / "data.json").read_text(encoding="utf-8"))
    assert len(written) == len(overrides.groups())
    titles = [shape["properties"]["_target_"]["const"] for shape in schema["anyOf"]]
    assert "src.data.mnist_datamodule.MNISTDataModule" in titles
    sizes = [shape["properties"].get("batch_size") for shape in schema["anyOf"]]
    assert {"type": "integer"} in sizes[0]["anyOf"]
