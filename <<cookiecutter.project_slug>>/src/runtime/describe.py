"""What a run says and records about itself: its environment, its start, and its end."""

import difflib
import logging
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig, OmegaConf
from torch.nn.parameter import UninitializedParameter

from src.runtime.build import Objects
from src.runtime.command_line import state as command_state
from src.runtime.loggers import Journal, tracker_commands
from src.runtime.mlflow_upload import wait_for_upload
from src.runtime.project import PROJECT_ROOT, command, is_sweep_job, quoted
from src.runtime.run_folder import checkpoints_of

log = logging.getLogger(__name__)


class RunObserver(Callback):
    """Summarise the start of a run, and report a monitored metric that nobody logs.

    Args:
        run_dir: the run folder.
        monitor: the metric that tells the best epoch; None: none does.
    """

    def __init__(self, run_dir: Path, monitor: str | None) -> None:
        self.run_dir, self.monitor = run_dir, monitor

    def on_train_batch_end(self, *arguments: Any, **further: Any) -> None:
        """Remember that a batch has passed: errors keep their traceback from now on."""
        command_state.training_started = True

    on_test_batch_end = on_predict_batch_end = on_train_batch_end

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn about a monitored name that validation does not log, with the closest one."""
        if self.monitor and self.monitor not in trainer.callback_metrics:
            log.warning("In validation %s", advice_on_monitor(self.monitor, trainer))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what is trained, on what, and where the results go."""
        if trainer.is_global_zero:
            warn_on_failure("summarise the run", lambda: self._log_start(trainer, pl_module))
        if self.monitor and not trainer.enable_validation:
            log.warning("Without validation %s", advice_on_monitor(self.monitor, trainer))

    def _log_start(self, trainer: Trainer, model: LightningModule) -> None:
        known = [p for p in model.parameters() if not isinstance(p, UninitializedParameter)]
        trainable = sum(p.numel() for p in known if p.requires_grad)
        loaders = {"train": trainer.train_dataloader, "val": trainer.val_dataloaders}
        datasets = {name: getattr(loader, "dataset", None) for name, loader in loaders.items()}
        sizes = [f"{len(d):,} {name}" for name, d in datasets.items() if hasattr(d, "__len__")]
        batch_size = getattr(trainer.train_dataloader, "batch_size", None) or "unknown"
        copies = f"{trainer.world_size} processes x {trainer.accumulate_grad_batches} accumulated"
        device = trainer.strategy.root_device
        is_cuda = device.type == "cuda"
        trackers = [type(lg).__name__ for lg in trainer.loggers if not isinstance(lg, Journal)]
        lines = {
            "model": f"{type(model).__name__}, {trainable:,} trainable parameters",
            "data": ", ".join(
                [type(getattr(trainer, "datamodule", None) or model).__name__, *sizes]
            ),
            "batch size": f"{batch_size} x {copies}",
            "device": torch.cuda.get_device_name(device) if is_cuda else str(device),
            "folder": str(self.run_dir),
            "tracker": ", ".join(trackers) or "none",
        }
        log.info("\n".join(f"{key + ':':<12} {value}" for key, value in lines.items()))


def advice_on_monitor(monitor: str, trainer: Trainer) -> str:
    """Return what to type where nothing is logged under the monitored name."""
    logged = list(trainer.callback_metrics)
    close = difflib.get_close_matches(monitor, logged, 1, 0.4) or logged
    return f"monitor={monitor} is not logged. " + (
        f"Did you mean monitor={close[0]}?" if close else "Type monitor=null to keep the last epoch"
    )


def explain_missing_metric(error: BaseException, objects: Objects) -> str | None:
    """Return what to type if an error arose since the monitored metric is not logged, else None."""
    monitor, trainer = objects["cfg"].get("monitor"), objects["trainer"]
    is_missing = monitor and monitor not in trainer.callback_metrics
    return advice_on_monitor(monitor, trainer) if is_missing and monitor in str(error) else None


def describe_environment() -> dict[str, Any]:
    """Return versions, command and git commit, as `run.json` records them."""
    packages = ("torch", "lightning", "hydra-core")
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "command": shlex.join(["python", *sys.argv]),
        "git_commit": commit,
        "git_dirty": bool(changes) if commit else None,
    }


def best_checkpoint(trainer: Trainer) -> str | None:
    """Return the best checkpoint file of a trainer, None if no metric tells which is best."""
    callback = _best_callback(trainer)
    return callback.best_model_path if callback else None


def best_result(trainer: Trainer, run_dir: Path) -> dict[str, Any]:
    """Return path, metric and epoch of the best checkpoint, as `run.json` records them."""
    callback = _best_callback(trainer)
    if callback is None:
        return {}
    path, score = callback.best_model_path, callback.best_model_score
    epoch = re.search(r"epoch[_=](\d+)", Path(path).name)
    return {
        "best_checkpoint": os.path.relpath(path, run_dir),
        "monitor": callback.monitor,
        "mode": callback.mode,
        "best_value": None if score is None else float(score),
        "best_epoch": int(epoch[1]) if epoch else None,
    }


def print_end(cfg: DictConfig, objects: Objects, record: dict[str, Any]) -> None:
    """Print why a run ended, its results, and the commands that go on from here.

    Args:
        cfg: of the run.
        objects: of the run.
        record: the keys of `run.json` that its end has set.
    """
    trainer, run_dir, status = objects["trainer"], cfg.paths.output_dir, record["status"]
    has_checkpoint = bool(checkpoints_of(run_dir))
    reason = record["error"] or ("stopped early" if trainer.should_stop else "")
    lines = {"status": f"{status}: {reason}" if reason else status}
    if trainer.global_step > 0:
        lines["status"] += f", after {trainer.current_epoch} epochs"
    if record.get("best_value") is not None:
        lines["best"] = (
            f"{record['monitor']} {record['best_value']:.4g} in epoch {record['best_epoch']}"
        )
    tested = {name: v for name, v in record["metrics"].items() if name.startswith("test")}
    if tested:
        lines["test"] = ", ".join(f"{name} {value:.4g}" for name, value in tested.items())
    if "substitute" in record:
        lines["data"] = f"{record['substitute']} INSTEAD of the dataset that was asked for"
    lines["folder"] = run_dir
    if has_checkpoint and status != "finished":
        lines["resume"] = command("src/train.py", f"ckpt_path={quoted(run_dir)}")
    elif has_checkpoint:
        lines["evaluate"] = command("src/eval.py", f"ckpt_path={quoted(run_dir)}")
    patience = OmegaConf.select(cfg, "logger.mlflow.patience", default=15)
    upload = "" if is_sweep_job() else wait_for_upload(run_dir, float(patience or 0))
    if trackers := tracker_commands(objects["loggers"], run_dir):
        lines["tracker"] = "\n           ".join(trackers)
    if upload:
        lines["mlflow"] = upload
    print("\n" + "\n".join(f"{key + ':':<10} {value}" for key, value in lines.items()), flush=True)


def warn_on_failure(what: str, action: Callable[[], Any]) -> Any:
    """Return what `action` returns; a failure of the runtime's own never stops a run."""
    try:
        return action()
    except Exception as error:  # any: see above
        log.warning("Could not %s: %s", what, error)
        return None


def _best_callback(trainer: Trainer) -> ModelCheckpoint | None:
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor is not None:
            return callback if Path(callback.best_model_path).is_file() else None
    return None


def _git(*arguments: str) -> str | None:
    settings: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 5, "check": True}
    try:
        found = subprocess.run(["git", "-C", str(PROJECT_ROOT), *arguments], **settings)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
