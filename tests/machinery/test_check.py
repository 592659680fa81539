"""`src/check.py` and the check before each run: refuse only what certainly cannot run."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Command
from omegaconf import OmegaConf

from src import check as verb
from src.runtime import check
from src.runtime.project import ConfigError

OWNER = """
import functools
from typing import Any, Optional, Union
from torch import nn

class Net(nn.Module):
    def __init__(self, width: int, dropout: float = None, act: nn.Module = None, size: "int" = 3,
                 steps: Optional[int] = 1, share: Union[int, float, str] = 1,
                 auto: int = "auto", flag: bool = True, name: str = "x", pair: list[int] = ()):
        super().__init__()

class Later:
    def __init__(self, width: "Unknown", size: int = 3):
        pass

class Open(Net):
    def __init__(self, extra=1, **kwargs):
        super().__init__(**kwargs)

def accepting_more(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        kwargs.pop("extra", None)
        return function(*args, **kwargs)
    return wrapper

@accepting_more
def make(width):
    return Net(width)

class Optimizing(nn.Module):
    def __init__(self, optimizer, net=None):
        super().__init__()
"""
RIGHT = {
    "an optional argument that its annotation does not admit": {"dropout": None, "act": None},
    "numbers": {"dropout": 1, "size": 4, "steps": None, "share": "0.5", "flag": 0},
    "a number in quotes": {"size": "4", "dropout": "1e-3"},
    "text where the default is text": {"auto": "all"},
    "an annotation that cannot be resolved": {"_target_": "owner.Later", "width": "text"},
    "a number for text": {"name": 3, "pair": [1, 2]},
    "a node for a number": {"size": {"_target_": "math.floor", "_args_": [3.5]}},
    "a value that the datamodule fills in": {"width": "???"},
    "a container of nodes": {"pair": [{"_target_": "owner.Net", "width": 3}]},
}
WRONG = {
    "dropuot": (
        {"dropuot": 1},
        "model.dropuot: owner.Net takes no dropuot. Did you mean model.drop",
    ),
    "deep inside": (
        {"pair": [{"a": {"_target_": "owner.Net", "widht": 3}}]},
        "model.pair.0.a.widht: owner.Net takes no widht. Did you mean model.pair.0.a.width?",
    ),
    "a class that does not exist": ({"_target_": "owner.Nett"}, "Did you mean owner.Net?"),
    "an attribute of a class": ({"_target_": "owner.Net.nope"}, "has no attribute 'nope'"),
}


@pytest.fixture(autouse=True)
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write a module of somebody who does not know this template."""
    (tmp_path / "owner.py").write_text(OWNER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("owner", None)


def problems(**model: Any) -> list[str]:
    return check.invalid_target_messages(OmegaConf.create({"model": model}))


@pytest.mark.parametrize("arguments", RIGHT.values(), ids=RIGHT)
def test_what_may_run_is_not_refused(arguments: dict[str, Any]) -> None:
    assert problems(**{"_target_": "owner.Net", "width": 3} | arguments) == []


@pytest.mark.parametrize(("arguments", "expected"), WRONG.values(), ids=WRONG)
def test_what_cannot_run_is_named_with_what_to_type(
    arguments: dict[str, Any], expected: str
) -> None:
    found = problems(**{"_target_": "owner.Net", "width": 3} | arguments)
    assert expected in found[0]


def test_targets_that_accept_anything_are_not_refused() -> None:
    assert problems(_target_="owner.Open", width=3, anything=4) == []
    assert problems(_target_="owner.make", width=3, extra=4) == []
    assert problems(_target_="builtins.dict", a=1) == []


def test_nothing_below_recursive_false_is_inspected() -> None:
    node = {"_target_": "torch.optim.Adam", "lr": 0.1, "nonsense": 1}  # lacks its params
    assert problems(_target_="owner.Optimizing", _recursive_=False, optimizer=node) == []
    assert len(problems(_target_="owner.Optimizing", optimizer=node)) == 1


def test_the_error_of_an_import_is_shown_as_it_is(
    owner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (owner / "broken.py").write_text("import not_installed\n")
    (found,) = problems(_target_="broken.Net")
    assert found.endswith("broken.Net: ModuleNotFoundError: No module named 'not_installed'")
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    (owner / "other.py").write_text("import pytorch_lightning as pl\n")
    (found,) = problems(_target_="other.Module")
    assert found.endswith("write: import lightning.pytorch as pl")


def test_missing_packages_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "find_spec", lambda name: None)
    cfg = OmegaConf.create({"logger": {"wandb": {"_target_": "src.runtime.loggers.WandbLogger"}}})
    (found,) = check.uninstalled_logger_messages(cfg)
    assert "Type: uv pip install -e '.[wandb]' (without uv: pip install" in found


@pytest.mark.parametrize(
    ("cfg", "expected"),
    [
        ({"callbacks": {"a": "text"}}, "callbacks.a has no _target_"),
        ({"callbacks": {"a": {"patience": 3}}}, "callbacks.a has no _target_"),
        ({"input": "???"}, "input has no value (???). Type input=VALUE"),
    ],
)
def test_what_shows_without_imports(cfg: dict[str, Any], expected: str) -> None:
    (found,) = check.invalid_value_messages(OmegaConf.create(cfg))
    assert found.startswith(expected)


def test_what_is_unused_or_fills_itself_is_no_problem() -> None:
    cfg = OmegaConf.create(
        {
            "data": {},
            "callbacks": {"a": None, "b": {}},
            "logger": None,
            "model": {"_target_": "owner.Net", "width": "???"},
            "own": "${oc.env:NOT_SET}",
            "ckpt_path": "last",
        }
    )
    assert list(check.invalid_value_messages(cfg)) == []


BROKEN = {
    "data/broken.yaml": ("_target_: owner.Net\nwidht: 3\n", "data.widht"),
    "model/net/broken.yaml": ("_target_: torch.nn.Linear\nfeatures: 3\n", "takes no features"),
    "model/optimizer/broken.yaml": (
        "_target_: torch.optim.Adm\n_partial_: true\n",
        "torch.optim.A",
    ),
    "common/callbacks/broken.yaml": ("broken:\n  patience: 3\n", "callbacks.broken has no _target"),
    "experiment/team/broken.yaml": ("# @package _global_\ntrainer: {max_epochs: ten}\n", "'ten'"),
    "experiment/key.yaml": (
        "# @package _global_\ndefaults: [{override /data: absent}]\n",
        "data/absent",
    ),
}


@pytest.mark.parametrize("file", BROKEN)
def test_a_broken_file_is_found_by_the_verb(
    file: str, configs: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, expected = BROKEN[file]
    (configs / file).parent.mkdir(exist_ok=True)
    (configs / file).write_text(content)
    # Of all that the verb composes, the default configuration and this file.
    wanted = ("configs/train.yaml", f"configs/{file}")
    found = [entry for entry in verb.configurations() if entry[0] in wanted]
    assert len(found) == 2
    monkeypatch.setattr(verb, "configurations", lambda: found)
    answer = command("json=true", verb="check")
    assert answer.code == 1
    assert expected in json.loads(answer.out)["problems"][f"configs/{file}"][0]


def test_the_project_as_it_comes_has_no_problems(command: Command) -> None:
    answer = command(verb="check")
    assert answer.out.endswith(" 0 problems\n")
    assert answer.code == 0
    with pytest.raises(ConfigError, match="no module nowhere"):
        check.import_target("nowhere.Thing")
