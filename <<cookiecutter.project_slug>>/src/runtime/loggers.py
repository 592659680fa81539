"""Loggers: the journal `metrics.jsonl`, CSV out of it, and Lightning's own made safe.

A failure of any of them is one warning and disables it; training goes on. MLflow's is in
`mlflow_logger.py`.
"""

import csv
import io
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import loggers
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyExperiment
from lightning.pytorch.utilities import rank_zero_only

from src.runtime.distributed import global_rank
from src.runtime.mlflow_run import DESCRIPTION, METRICS, read_rows
from src.runtime.mlflow_upload import run_page
from src.runtime.project import command, read_json, write_atomically, write_json

log = logging.getLogger(__name__)

MOST_PENDING = 64 * 2**20  # bytes of rows that wait in memory for room on the disk
MOST_REPEATED = 4 * 2**20  # bytes at the end of a journal that a resumed run may log again


def guarded(name: str) -> Callable[..., Any]:
    """Return a method that calls the one of the next class and survives its failure."""

    def method(self: "ReportsFailure", *args: Any, **kwargs: Any) -> Any:
        return self.attempt(lambda: getattr(super(ReportsFailure, self), name)(*args, **kwargs))

    return method


class ReportsFailure(Logger):
    """Mixin: the first failure of a logger is a warning and disables it; training goes on."""

    has_failed = False
    log_metrics = guarded("log_metrics")
    log_hyperparams = guarded("log_hyperparams")
    log_graph = guarded("log_graph")
    save = guarded("save")
    finalize = guarded("finalize")
    after_save_checkpoint = guarded("after_save_checkpoint")

    @property
    def experiment(self) -> Any:
        """The tracker's own object; one that does nothing after a failure."""
        tracker: Any = super()
        found = self.attempt(lambda: tracker.experiment)
        return DummyExperiment() if found is None else found

    def attempt(self, action: Callable[[], Any]) -> Any:
        """Return what `action` returns, None once it or an earlier one has failed."""
        if self.has_failed:
            return None
        try:
            return action()
        except Exception as error:  # any: of the disk, the network, a tracker
            self.has_failed = True
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            log.warning("%s is disabled for this run (%s)", type(self).__name__, reason)
            return None


class TensorBoardLogger(ReportsFailure, loggers.TensorBoardLogger):
    """Lightning's `TensorBoardLogger`, whose failure does not end the run."""


class WandbLogger(ReportsFailure, loggers.WandbLogger):
    """Lightning's `WandbLogger` with one run for each run folder; a resume continues it.

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


class FolderLogger(ReportsFailure):
    """Base of the loggers that write to the run folder and nowhere else.

    Name and version are empty, so that a checkpoint callback without `dirpath` uses
    `checkpoints/` of that folder.

    Args:
        save_dir: the run folder.
    """

    name = version = ""
    journal: "Journal | None" = None  # of the first logger, which a module logs to directly

    def __init__(self, save_dir: str | Path) -> None:
        self.run_dir = Path(save_dir).resolve()
        self.run_dir.mkdir(parents=True, exist_ok=True)

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.run_dir)

    log_dir = save_dir

    @property
    def experiment(self) -> Any:
        """An object that takes any call and does nothing."""
        return DummyExperiment()

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Hand metrics on to the journal, the source of all that is shown of them."""
        if self.journal is not None:
            self.journal.log_metrics(metrics, step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: `config.yaml` has them."""


class Journal(FolderLogger):
    """Appends a row to `metrics.jsonl` for each call: the source of MLflow, CSV and reports.

    A row is written at once, so that a killed process loses none; while the disk has no room, rows
    wait in memory. A run that resumes before the place where it was killed logs the same again:
    metrics that are equal are not written twice.
    """

    def __init__(self, save_dir: str | Path) -> None:
        super().__init__(save_dir)
        self.pending = b""
        self.is_full = False
        self.no_numbers: set[str] = set()
        self.earlier: dict[tuple[int, str], float] | None = None

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write metrics, with the time in milliseconds."""
        numbers = {}
        for name, value in metrics.items():
            try:
                numbers[name] = float(value)
            except (TypeError, ValueError, RuntimeError):
                if name not in self.no_numbers:
                    log.warning("The metric %s is not logged: %r is no number", name, value)
                self.no_numbers.add(name)
        self.attempt(lambda: self._log(numbers, step or 0))

    def _log(self, metrics: dict[str, float], step: int) -> None:
        if self.earlier is None:
            self.earlier = self._metrics_from(step)
        new = {k: v for k, v in metrics.items() if self.earlier.get((step, k)) != v}
        if new and len(self.pending) < MOST_PENDING:
            self.pending += row_as_line(step=step, metrics=new)
        try:
            append(self.run_dir / METRICS, self.pending)
            self.pending, self.is_full = b"", False
        except OSError as error:
            if not self.is_full:
                log.warning("%s cannot be written (%s): metrics wait in memory", METRICS, error)
            self.is_full = True

    def _metrics_from(self, step: int) -> dict[tuple[int, str], float]:
        """Return the metrics of a step and later ones that an earlier process has logged."""
        path = self.run_dir / METRICS
        start = max(path.stat().st_size - MOST_REPEATED, 0) if path.exists() else 0
        rows = [row for row, _ in read_rows(path, start) if row.get("step", -1) >= step]
        return {(row["step"], k): v for row in rows for k, v in row.get("metrics", {}).items()}


class CSVLogger(FolderLogger):
    """Writes `metrics.csv` out of the journal when `fit` or `test` ends: a column a metric."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the file, with the rows of before a resume."""
        self.attempt(self._write)

    def _write(self) -> None:
        rows = [row for row, _ in read_rows(self.run_dir / METRICS) if "metrics" in row]
        names = {name: None for row in rows for name in row["metrics"]}
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["step", *names])
        writer.writeheader()
        writer.writerows({"step": row["step"]} | row["metrics"] for row in rows)
        write_atomically(self.run_dir / "metrics.csv", text.getvalue())


def row_as_line(**row: Any) -> bytes:
    """Return a row of the journal, with the time in milliseconds if none is given."""
    return json.dumps({"time": int(time.time() * 1000)} | row).encode() + b"\n"


def append(path: Path, lines: bytes) -> None:
    """Append lines to a file, all or none.

    Raises:
        OSError: if there is no room for them.
    """
    with path.open("ab+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        if lines and file.read() not in (b"", b"\n"):
            lines = b"\n" + lines  # a power failure cut the last line
        try:
            if file.write(lines) != len(lines):
                raise OSError("No space left on device")
        except OSError:
            file.truncate(size)
            raise


def tracker_commands(used: Sequence[Logger], run_dir: str | Path) -> list[str]:
    """Return what opens the page of each tracker of a run: an address, or a shell command."""
    run_dir = Path(run_dir)
    found: list[str | None] = []
    for logger in used:
        if isinstance(logger, loggers.MLFlowLogger):
            uri = read_json(run_dir / DESCRIPTION).get("tracking_uri", "")
            page = run_page(run_dir) or (uri if uri.startswith("http") else None)
            found.append(page or command("src/ui.py", str(run_dir)))
        elif isinstance(logger, loggers.TensorBoardLogger):
            found.append(command("-m", "tensorboard.main", "--logdir", logger.log_dir))
        elif isinstance(logger, loggers.WandbLogger):
            offline = sorted(map(str, run_dir.glob("wandb/offline-run-*")))
            sync = command("-m", "wandb", "sync", *offline) if offline else None
            found.append(sync or getattr(logger.experiment, "url", None))
    return [line for line in found if isinstance(line, str)]
