"""Fixtures of the tests that run inside a baked project: `PROJECT=FOLDER python -m pytest ...`.

`compose_train("seed=1")` gives a small configuration, to call `train(cfg)` with, and
`command("logger=csv")` runs a command line in this process; both write below `tmp_path`.
"""

import atexit
import contextlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

PROJECT = Path(os.environ["PROJECT"]).resolve()
if "PYTEST_XDIST_WORKER" in os.environ:  # some tests add files to configs/: a copy for each worker
    copied = Path(tempfile.mkdtemp(prefix="bake-"))
    for name in ("configs", "hydra_plugins", "src", "tests"):
        shutil.copytree(PROJECT / name, copied / name)
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(PROJECT / name, copied)
    PROJECT = copied
    os.environ["PROJECT"] = str(PROJECT)
    atexit.register(shutil.rmtree, copied, ignore_errors=True)
sys.path.insert(0, str(PROJECT))
os.chdir(PROJECT)

from omegaconf import DictConfig  # noqa: E402

from src.runtime import overrides  # noqa: E402
from src.runtime import project as project_module  # noqa: E402
from src.runtime.command_line import compose  # noqa: E402

HYDRA_VERBS = ("train", "eval", "predict", "export", "report")
ACCELERATOR = os.environ.get("ACCELERATOR", "cpu")  # `make test-gpu` sets gpu
# An epoch of seconds, without trackers and callbacks.
SMALL = (
    *("data=digits", "logger=none", "callbacks=none", "trainer.max_epochs=1"),
    f"trainer={ACCELERATOR}",
    *("+trainer.limit_train_batches=3", "+trainer.limit_val_batches=2"),
    *("+trainer.limit_test_batches=2", "+trainer.enable_progress_bar=false"),
)


@dataclass
class Answer:
    """What came of a command line."""

    code: int | str | None
    out: str
    err: str


Command = Callable[..., Answer]
Compose = Callable[..., DictConfig]


@pytest.fixture(scope="session")
def project() -> Path:
    """Return the folder of the baked project."""
    return PROJECT


@pytest.fixture
def compose_train(tmp_path: Path) -> Compose:
    """Return a function that composes a small training; further overrides come last."""

    def composed(*overrides: str) -> DictConfig:
        return compose("train", *SMALL, f"paths.log_dir={tmp_path}/logs", *overrides)

    return composed


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs `python src/VERB.py ARGUMENTS` in this process."""

    def run(*arguments: str, verb: str = "train") -> Answer:
        main = import_module(f"src.{verb}").main
        has_logs = verb in HYDRA_VERBS and "-sc" not in arguments
        logs = [f"paths.log_dir={tmp_path}/logs"] if has_logs else []
        monkeypatch.setattr(sys, "argv", [f"src/{verb}.py", *logs, *arguments])
        out, err = io.StringIO(), io.StringIO()
        code: int | str | None = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as stopped:
                code = stopped.code
        if isinstance(code, str):  # as Python does it
            code, _ = 1, err.write(f"{code}\n")
        return Answer(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def configs(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a copy of `configs/` that takes the place of the project's, to add files to."""
    copy = tmp_path / "configs"
    shutil.copytree(project / "configs", copy)
    for module in (overrides, project_module):
        monkeypatch.setattr(module, "CONFIGS", copy)
    overrides.choices_by_group.cache_clear()
    yield copy
    overrides.choices_by_group.cache_clear()
