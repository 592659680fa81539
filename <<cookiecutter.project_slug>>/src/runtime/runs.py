"""A run from its first line to its last: recorded, its results shown, its trackers closed."""

import errno
import logging
import os
import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig
from torch import Tensor

from src.runtime import console, record, signals
from src.runtime.config.plain_config import as_typed
from src.runtime.process import distributed
from src.runtime.tracker import tracking

if TYPE_CHECKING:
    from src.runtime.build import Objects

log = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT)
TRACKER_STATUS = {"finished": "success", "failed": "failed", "killed": "KILLED"}


class Run:
    """What a run is made of and has measured so far; fill both in as it goes."""

    def __init__(self) -> None:
        self.objects: Objects | None = None
        self.metrics: dict[str, Tensor] = {}


@contextmanager
def recorded(cfg: DictConfig) -> Generator[Run]:
    """Keep `run.json` of the run inside the `with`; at its end show results and close trackers.

    Raises:
        ValueError: if another process runs in the same folder.
        signals.Interrupted: on Ctrl-C, SIGTERM or SIGUSR1.
    """
    run = Run()
    status, error = "failed", None
    with ExitStack() as stack:
        stack.enter_context(distributed.one_job())
        _begin(cfg, stack)
        try:
            with signals.handled():
                yield run
            status = "finished"
        except (signals.Interrupted, SIGTERMException, KeyboardInterrupt) as reason:
            status, error = "killed", str(reason) or type(reason).__name__
            raise
        except OSError as reason:
            error = str(reason)
            if reason.errno in FULL:
                raise ValueError(_full(cfg, error)) from reason
            raise
        except BaseException as reason:
            error = f"{type(reason).__name__}: {reason}".splitlines()[0]
            raise
        finally:
            _end(cfg, run, status, error)
            if run.objects:
                distributed.join(run.objects["trainer"], status)


def best_checkpoint(trainer: Trainer) -> str | None:
    """Return the path of the best checkpoint, or None (the weights as they are) with a warning."""
    path = _best_path(trainer)
    if not path:
        log.warning("No checkpoint was written: the test uses the weights of the last step.")
    return path


@rank_zero_only
def _begin(cfg: DictConfig, stack: ExitStack) -> None:
    run_dir = Path(cfg.paths.output_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    stack.enter_context(record.held(run_dir))
    fresh = {"started": _now(), "metrics": {}, "best_checkpoint": None}
    former = record.read(run_dir)
    now = {
        "status": "running",
        "task": cfg.task_name,
        "ended": None,
        "resumed": former["resumed"] + 1 if former else 0,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "overrides": as_typed(HydraConfig.get().overrides.task)
        if HydraConfig.initialized()
        else [],
        "error": None,
    }
    record.write(run_dir, (former or fresh) | now)


def _end(cfg: DictConfig, run: Run, status: str, error: str | None) -> None:
    end: dict[str, Any] = {"status": status, "ended": _now(), "error": error}
    if run.objects:
        if best := _best_path(run.objects["trainer"]):
            end["best_checkpoint"] = os.path.relpath(best, cfg.paths.output_dir)
        if run.metrics:
            end["metrics"] = {name: value.item() for name, value in run.metrics.items()}
        if status == "finished":
            _print_results(run.objects, run.metrics)
        for logger in run.objects["loggers"]:
            logger.finalize(TRACKER_STATUS[status])
    _write_end(cfg, end)
    if run.objects:  # last, as it may wait for a server
        tracking.close(run.objects["loggers"])


@rank_zero_only
def _write_end(cfg: DictConfig, end: dict[str, Any]) -> None:
    try:
        record.update(cfg.paths.output_dir, **end)
    except OSError as error:  # what ended the run matters more
        log.error("%s does not say how the run ended: %s", record.FILE, error)


def _full(cfg: DictConfig, error: str) -> str:
    run_dir = cfg.paths.output_dir
    return f"{error}. Make room, then go on from the last whole checkpoint: ckpt_path={run_dir}"


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _best_path(trainer: Trainer) -> str | None:
    callback = trainer.checkpoint_callback
    return callback.best_model_path or None if isinstance(callback, ModelCheckpoint) else None


@rank_zero_only
def _print_results(objects: "Objects", metrics: dict[str, Tensor]) -> None:
    trainer = objects["trainer"]
    substitute = tracking.substitute_of(trainer)
    console.print_results(
        {name: value.item() for name, value in metrics.items()},
        {
            "run directory": objects["cfg"].paths.output_dir,
            "best checkpoint": _best_path(trainer),
            "open tracker": tracking.open_command(objects["loggers"]),
        },
        f"Trained on {substitute} instead of the dataset asked for." if substitute else None,
    )
