"""Loggers: the journal `metrics.jsonl`, and Lightning's own made safe.

A failure of any of them is one warning; training goes on. MLflow's is in `mlflow_logger.py`.
"""

import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch import loggers
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyExperiment
from lightning.pytorch.utilities import rank_zero_only

from src.runtime.distributed import global_rank
from src.runtime.mlflow_run import METRICS, read_rows_with_offsets
from src.runtime.project import read_json, shell_command, write_json

log = logging.getLogger(__name__)


class AnyExperiment(DummyExperiment):
    """Accept the calls, attributes and items of any tracker, and do nothing.

    Args:
        log_dir: folder for what a module writes by itself.
    """

    def __init__(self, log_dir: Any = "") -> None:
        self.log_dir = log_dir

    def __getattr__(self, _: Any) -> Any:
        """Return the object itself."""
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the object itself."""
        return self


def guarded_method(name: str) -> Callable[..., Any]:
    """Return a method that calls the base class's; a failure disables the logger."""

    def method(self: "FailSafeLogger", *args: Any, **kwargs: Any) -> Any:
        return self.call_safely(lambda: getattr(super(FailSafeLogger, self), name)(*args, **kwargs))

    return method


class FailSafeLogger(Logger):
    """Mixin that disables a logger with a warning when it first fails."""

    has_failed = False
    log_metrics = guarded_method("log_metrics")
    log_hyperparams = guarded_method("log_hyperparams")
    save = guarded_method("save")
    finalize = guarded_method("finalize")
    after_save_checkpoint = guarded_method("after_save_checkpoint")

    @property
    def experiment(self) -> Any:
        """The logger's experiment object, or a dummy object after a failure."""
        tracker: Any = super()
        return self.call_safely(lambda: tracker.experiment) or AnyExperiment(self.log_dir)

    def call_safely(self, action: Callable[[], Any]) -> Any:
        """Call a function and return its result, or None if the logger has failed."""
        if self.has_failed:
            return None
        try:
            return action()
        except Exception as error:  # any: of the disk, the network, a tracker
            self.has_failed = True
            log.warning("%s is disabled for this run: %r", type(self).__name__, error)
            return None


class CSVLogger(FailSafeLogger, loggers.CSVLogger):
    """Lightning's `CSVLogger`, disabled with a warning if it fails."""


class TensorBoardLogger(FailSafeLogger, loggers.TensorBoardLogger):
    """Lightning's `TensorBoardLogger`, disabled with a warning if it fails."""

    def __init__(self, save_dir: str | Path, **kwargs: Any) -> None:
        super().__init__(save_dir, **kwargs)
        command = shell_command("-m", "tensorboard.main", "--logdir", str(save_dir))
        self.final_summary = {"tensorboard": command}


class WandbLogger(FailSafeLogger, loggers.WandbLogger):
    """Lightning's `WandbLogger`, with one W&B run per run folder.

    Args:
        save_dir: the run folder.
        kwargs: arguments of Lightning's `WandbLogger` and of `wandb.init`.
    """

    def __init__(self, save_dir: str, **kwargs: Any) -> None:
        import wandb  # an extra

        record = Path(save_dir, "wandb.json")
        run_id = read_json(record).get("id") or secrets.token_hex(4)
        if global_rank() == 0:
            record.parent.mkdir(parents=True, exist_ok=True)
            write_json(record, {"id": run_id})
        if wandb.run is not None:  # of the job before this one: Lightning would go on with it
            wandb.finish()
        super().__init__(save_dir=save_dir, id=run_id, **kwargs)


class JSONLinesLogger(Logger):
    """Append a row to `metrics.jsonl` for each logging call.

    A row is written at once, so that a killed process loses none; while the disk has no room, rows
    wait in memory. What a run logs again after a resume is not written twice.

    Name and version are empty, so that a checkpoint callback without `dirpath` uses `checkpoints/`
    of the run folder.

    Args:
        save_dir: the run folder.
    """

    name = version = save_dir = log_dir = ""

    def __init__(self, save_dir: str | Path) -> None:
        self.run_dir = Path(save_dir).resolve()
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.save_dir = self.log_dir = str(self.run_dir)
        self.path = self.run_dir / METRICS
        self.pending = b"\n" if has_incomplete_last_line(self.path) else b""
        self.warned: set[str] = set()
        self.earlier: set[tuple[int, str, str]] | None = None

    @property
    def experiment(self) -> Any:
        """Return an object that accepts the calls of any tracker and does nothing."""
        return AnyExperiment(self.log_dir)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing, because `config.yaml` contains the parameters."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Append a row of metrics, without those already written before a resume."""
        step = int(step or 0)
        if self.earlier is None:
            self.earlier = self._metrics_from(step)
        new = {}
        for name, value in metrics.items():
            try:
                number = float(value)
            except (TypeError, ValueError, RuntimeError):
                self.warn_once(f"The metric {name} is not logged", f"{value!r} is no number")
                continue
            if (step, name, str(number)) not in self.earlier:
                new[name] = number
        if new:
            self.append_row(step=step, metrics=new)

    def append_row(self, **row: Any) -> None:
        """Append a row, after retrying any rows that could not be written before."""
        stamped = {"time": int(time.time() * 1000), "step": 0, "metrics": {}} | row
        self.pending += json.dumps(stamped).encode() + b"\n"
        try:
            with self.path.open("ab", buffering=0) as file:
                written = file.write(self.pending)
                self.pending = self.pending[written:]
        except OSError as error:
            self.warn_once(f"{METRICS} cannot be written, rows wait in memory", error)

    def warn_once(self, problem: str, reason: object) -> None:
        """Log a warning, once per problem."""
        if problem not in self.warned:
            self.warned.add(problem)
            log.warning("%s: %s", problem, reason)

    def _metrics_from(self, step: int) -> set[tuple[int, str, str]]:
        """Return step, name and value of what was logged at a step and later."""
        found: set[tuple[int, str, str]] = set()
        with suppress(OSError):  # what cannot be read may be there twice
            for row, _ in read_rows_with_offsets(self.path):
                if row.get("step", -1) >= step:
                    found |= {(row["step"], k, str(v)) for k, v in row["metrics"].items()}
        return found


def has_incomplete_last_line(path: Path) -> bool:
    """Return whether the last line of a file has no newline."""
    return path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
