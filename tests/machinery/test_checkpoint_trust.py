"""A checkpoint that somebody sent cannot run code: by neither its pickle nor its configuration."""

import importlib
import inspect
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from src.runtime.checkpoint_config import (
    BASES,
    PACKAGES,
    checked_node_copy,
    load_model,
    targets_in_config_files,
    trusted_config_from_checkpoint,
)
from src.runtime.checkpoints import read_checkpoint
from src.runtime.project import ConfigError, instantiate

HOSTILE = [
    "torch.nn.modules.module.torch.load",
    "torch.load",
    "torch.hub.load",
    "torch.save",
    "torch.serialization.load",
    "torch.nn.functional.softplus",
    "torch.distributed.run.main",
    "lightning.pytorch.demos.boring_classes.BoringModel.load_from_checkpoint",
    "lightning.pytorch.plugins.io.TorchCheckpointIO.load_checkpoint",
    "lightning.pytorch.plugins.io.TorchCheckpointIO",
    "lightning.pytorch.callbacks.ModelCheckpoint.to_yaml",
    "lightning.fabric.utilities.cloud_io.get_filesystem",
    "torchvision.io.write_file",
    "torchvision.datasets.utils.download_url",
    "torchvision.datasets.folder.os.system",
    "torch.nn.modules.module.functools.partial",
    "torch.os.system",
    "torch.optim.optimizer.functools.partial",
    "src.runtime.project.write_json",
    "src.train.train",
    "src.data.loading.os.remove",
    "src.models.lit_module.LitModule.load_from_checkpoint",
    "builtins.exec",
    "os.system",
    "subprocess.Popen",
    "importlib.import_module",
    "pickle.loads",
    "hydra.utils.instantiate",
    "hydra.utils.get_class",
    "numpy.load",
    "antigravity",
    "torch",
    "",
    "torch.nn.Linear ",
    "torch..nn.Linear",
    ".torch.nn.Linear",
    "torch.nn.Linear.__init__.__globals__",
    "torch.nn.Linear.forward",
    "torch.nn.Module.__class__",
    "src.models.lit_module.LitModule.__mro__",
]


def hostile_nodes(target: Any) -> list[dict[str, Any]]:
    """Return the ways in which a node can hide a target."""
    inner = {"_target_": target, "f": "x"}
    return [
        inner,
        {"_target_": target, "_partial_": True},
        {"_target_": target, "_args_": ["x"]},
        {"_target_": "torch.nn.Sequential", "_args_": [inner]},
        {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "torch.nn.ReLU", "x": inner}]},
        {"_target_": "torch.nn.Linear", "_recursive_": False, "deep": {"er": [inner]}},
        {"no_target": {"list": [[inner]]}},
    ]


@pytest.mark.parametrize("target", HOSTILE)
def test_hostile_targets_are_refused_wherever_they_hide(target: str) -> None:
    for node in hostile_nodes(target):
        with pytest.raises(ConfigError, match="may not be called"):
            checked_node_copy(node, "model")


@pytest.mark.parametrize("target", [None, 1, ["torch.nn.Linear"], {"a": 1}, "${oc.env:TARGET}"])
def test_a_target_is_a_plain_text(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET", "os.system")
    with pytest.raises(ConfigError):
        checked_node_copy({"_target_": target}, "model")


def test_nothing_is_imported_for_a_foreign_package(tmp_path: Path) -> None:
    (tmp_path / "evil_package.py").write_text("raise SystemExit('imported')")
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(ConfigError):
            checked_node_copy({"_target_": "evil_package.Model"}, "model")
        assert "evil_package" not in sys.modules
    finally:
        sys.path.remove(str(tmp_path))


def reachable(package: Any, name: str, steps: int) -> Iterator[tuple[str, Any]]:
    """Yield path and value of what attribute steps lead to, each value by a shortest path."""
    level, seen = [(name, package)], {id(package)}
    for _ in range(steps):
        found = []
        for path, holder in level:
            for attribute in dir(holder):
                try:
                    value = getattr(holder, attribute)
                except Exception:
                    continue
                if id(value) not in seen:
                    seen.add(id(value))
                    found.append((f"{path}.{attribute}", value))
        yield from found
        level = [(p, v) for p, v in found if inspect.ismodule(v) or inspect.isclass(v)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "package", ["lightning.pytorch", "torchmetrics", "torchvision", "torch.nn"]
)
def test_what_passes_is_a_class_of_the_allowed_bases(package: str) -> None:
    passed = 0
    for path, value in reachable(importlib.import_module(package), package, 3):
        try:
            checked_node_copy({"_target_": path}, "model")
        except ConfigError:
            continue
        passed += 1
        assert path in targets_in_config_files() or (
            inspect.isclass(value)
            and issubclass(value, BASES)
            and f"{value.__module__}.".startswith(PACKAGES)
        ), path
    assert passed > 5, "the walk has found what is allowed"


def test_interpolations_of_a_checkpoint_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    OmegaConf.register_new_resolver("evil", lambda *a: called.append(a) or "x", replace=True)
    monkeypatch.setenv("HARMLESS", "value")
    texts = [
        "${evil:1}",
        "\\${evil:1}",
        "\\\\${evil:1}",
        "a${evil:${evil:2}}b",
        "${oc.env:A,${evil:}}",
    ]
    node = OmegaConf.create(
        checked_node_copy({"texts": texts, "env": "${oc.env:HARMLESS}"}, "data")
    )
    plain = OmegaConf.to_container(node, resolve=True)
    assert isinstance(plain, dict)
    assert not called
    assert plain["texts"][:3] == texts[:3]
    assert plain["env"] == "value"


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch evil_was_here",)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": Evil()},
        {"state_dict": {}, "run_config": Evil()},
        {"state_dict": {}, "run_config": {"model": {"_target_": "os.system", "command": "ls"}}},
        {"state_dict": {}, "run_config": {"model": "text"}},
        {"state_dict": {}, "run_config": ["model"]},
        {"state_dict": {}},
        {"state_dict": {}, "run_config": {"model": {"_target_": "torch.nn.Linear"}}},
        [1, 2],
        b"",
    ],
)
def test_hostile_and_damaged_files_are_refused_in_a_line(
    tmp_path: Path, content: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sent.ckpt"
    torch.save(content, path) if content != b"" else path.write_bytes(content)
    with pytest.raises(Exception, match=r"\S") as caught:
        load_model(path)
    assert isinstance(caught.value, ConfigError) or "Linear" in str(caught.value)
    assert not (tmp_path / "evil_was_here").exists()


def test_a_pickle_of_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.ckpt").write_bytes(pickle.dumps({"state_dict": Evil()}, protocol=2))
    with pytest.raises(ConfigError):
        read_checkpoint(tmp_path / "old.ckpt")
    assert not (tmp_path / "evil_was_here").exists()


def test_an_installed_library_that_an_own_file_names_is_trusted(
    project: Path, tmp_path: Path
) -> None:
    target = next(name for name in targets_in_config_files() if name.startswith("src.models"))
    checked_node_copy({"_target_": target}, "model")
    torch.save({"run_config": {"model": {"_target_": "torch.nn.Identity"}}}, tmp_path / "x.ckpt")
    config = trusted_config_from_checkpoint(tmp_path / "x.ckpt")
    assert isinstance(instantiate(OmegaConf.create(config)["model"]), torch.nn.Identity)


FLOW_STYLE = """
model: {_target_: a.Model, "net": {"_target_": "a.Net", size: 1}}
callbacks:
  - {size: 1, _target_: 'a.First'}
  - _target_: a.Second
"""


def test_targets_of_every_style_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.yaml").write_text(FLOW_STYLE)
    monkeypatch.setattr("src.runtime.checkpoint_config.CONFIGS", tmp_path)
    targets_in_config_files.cache_clear()
    try:
        assert targets_in_config_files() == {"a.Model", "a.Net", "a.First", "a.Second"}
    finally:
        targets_in_config_files.cache_clear()
