"""Fixtures of the tests that run inside a baked project: `PROJECT=FOLDER python -m pytest ...`.

`compose_train("seed=1")` gives a small configuration, to call `train(cfg)` with, and
`command("logger=csv")` runs a command line in this process; both write below `tmp_path`.
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

PROJECT = Path(os.environ["PROJECT"]).resolve()
sys.path.insert(0, str(PROJECT))
os.chdir(PROJECT)

from omegaconf import DictConfig  # noqa: E402
from src.runtime.command_line import compose  # noqa: E402

HYDRA_VERBS = ("train", "eval", "predict", "export", "report")
# An epoch of seconds, without trackers and callbacks.
SMALL = (
    *("data=digits", "logger=none", "callbacks=none", "trainer=cpu", "trainer.max_epochs=1"),
    *("+trainer.limit_train_batches=3", "+trainer.limit_val_batches=2"),
    *("+trainer.limit_test_batches=2", "+trainer.enable_progress_bar=false"),
)


@dataclass
class Answer:
    """What came of a command line."""

    code: int | str | None  # as in SystemExit: a text is printed, and means 1
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
        logs = [f"paths.log_dir={tmp_path}/logs"] if verb in HYDRA_VERBS else []
        monkeypatch.setattr(sys, "argv", [f"src/{verb}.py", *logs, *arguments])
        out, err = io.StringIO(), io.StringIO()
        code: int | str | None = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as stopped:
                code = stopped.code
        return Answer(code, out.getvalue(), err.getvalue())

    return run
