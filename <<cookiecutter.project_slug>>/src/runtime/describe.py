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
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig, OmegaConf
from torch.nn.parameter import UninitializedParameter

from src.runtime.build import Objects
from src.runtime.command_line import state as command_state
from src.runtime.loggers import tracker_commands
from src.runtime.mlflow_upload import wait_for_upload
from src.runtime.project import PROJECT_ROOT, command

log = logging.getLogger(__name__)


class RunObserver(Callback):
    """Summarise the start of a run, and report a monitored metric that nobody logs.

    Args:
        run_dir: the run folder.
        monitor: the metric that tells the best epoch; None: none does.
    """

    def __init__(self, run_dir: Path, monitor: str | None) -> None:
        self.run_dir, self.monitor = run_dir, monitor

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn about a monitored name that validation does not log, with the closest one."""
        logged = list(trainer.callback_metrics)
        if self.monitor and self.monitor not in logged:
            close = difflib.get_close_matches(self.monitor, logged, 1, 0.4) or logged
            advice = f"Did you mean monitor={close[0]}?" if close else "It logs nothing."
            log.warning("monitor=%s is not logged in validation. %s", self.monitor, advice)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember that the user's code runs from now on."""
        command_state.training_started = True

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember that the user's code runs from now on."""
        command_state.training_started = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what is trained, on what, and where the results go."""
        if trainer.is_global_zero:
            warn_on_failure("summarise the run", lambda: self._log_start(trainer, pl_module))

    def _log_start(self, trainer: Trainer, model: LightningModule) -> None:
        trainable, total = parameter_counts(model)
        net = getattr(model, "net", None)
        name = type(model).__name__ + (f" ({type(net).__name__})" if net is not None else "")
        batch_size = getattr(trainer.train_dataloader, "batch_size", None)
        accumulated = trainer.accumulate_grad_batches
        lines = {
            "model": f"{name}, {total:,} parameters, {trainable:,} trainable",
            "data": f"{type(trainer.datamodule or model).__name__}, {_sizes(trainer)}",
            "batch size": _batch_size(batch_size, trainer.world_size, accumulated),
            "device": f"{trainer.world_size} x {device_name(trainer)}",
            "folder": str(self.run_dir),
            "tracker": ", ".join(type(lg).__name__ for lg in trainer.loggers[:-1]) or "none",
        }
        log.info("\n".join(f"{key + ':':<13}{value}" for key, value in lines.items()))


def device_name(trainer: Trainer) -> str:
    """Return the name of the device that this process trains on."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = f" ({torch.get_num_threads()} threads)" if device.type == "cpu" else ""
    return f"{device.type}{threads}"


def parameter_counts(model: LightningModule) -> tuple[int, int]:
    """Return the numbers of trainable and of all parameters; lazy ones are not counted."""
    known = [p for p in model.parameters() if not isinstance(p, UninitializedParameter)]
    return sum(p.numel() for p in known if p.requires_grad), sum(p.numel() for p in known)


def describe_environment() -> dict[str, Any]:
    """Return versions, command and git commit, as `run.json` records them."""
    versions = {"python": platform.python_version()}
    for package in ("torch", "lightning", "hydra-core"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return {
        **versions,
        "command": shlex.join(["python", *sys.argv]),
        "git_commit": commit,
        "git_dirty": bool(changes) if commit else None,
    }


def best_checkpoint(trainer: Trainer) -> str | None:
    """Return the best checkpoint file of a trainer, None if none is known to be best."""
    callback = _monitoring_checkpoint(trainer)
    path = callback.best_model_path if callback else ""
    return path if path and Path(path).exists() else None


def best_result(trainer: Trainer, run_dir: Path) -> dict[str, Any]:
    """Return path, value and epoch of the best checkpoint, as `run.json` records them."""
    callback, path = _monitoring_checkpoint(trainer), best_checkpoint(trainer)
    if callback is None or path is None:
        return {}
    epoch = re.search(r"epoch_(\d+)", Path(path).name)
    score = callback.best_model_score
    return {
        "best_checkpoint": os.path.relpath(path, run_dir),
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
    trainer, run_dir = objects["trainer"], Path(cfg.paths.output_dir)
    status, is_train = record["status"], cfg.task_name not in ("eval", "predict", "export")
    reason = record["error"] or ("stopped early" if trainer.should_stop else "")
    lines = {"status": f"{status}: {reason}" if reason else status}
    if is_train:
        lines["status"] += f", after {trainer.current_epoch} epochs"
    if "best_value" in record:
        value, epoch = record["best_value"], record["best_epoch"]
        lines["best"] = f"{cfg.get('monitor')} {value:.4g} in epoch {epoch}"
    tested = {name: v for name, v in record["metrics"].items() if name.startswith("test")}
    if tested:
        lines["test"] = ", ".join(f"{name} {value:.4g}" for name, value in tested.items())
    if "substitute" in record:
        lines["data"] = f"{record['substitute']} INSTEAD of the dataset that was asked for"
    lines["folder"] = str(run_dir)
    if is_train and status != "finished":
        lines["resume"] = command("src/train.py", f"ckpt_path={run_dir}")
    elif is_train and trainer.checkpoint_callback is not None:
        lines["evaluate"] = command("src/eval.py", f"ckpt_path={run_dir}")
    for number, line in enumerate(tracker_commands(objects["loggers"], run_dir)):
        lines[f"tracker {number + 1}" if number else "tracker"] = line
    in_sweep = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    patience = OmegaConf.select(cfg, "logger.mlflow.patience", default=15)
    if not in_sweep and (upload := wait_for_upload(run_dir, float(patience or 0))):
        lines["mlflow"] = upload
    print("\n" + "\n".join(f"{key + ':':<10} {value}" for key, value in lines.items()), flush=True)


def warn_on_failure(what: str, action: Callable[[], Any]) -> Any:
    """Return what `action` returns; a failure of the runtime's own never stops a run."""
    try:
        return action()
    except Exception as error:  # any: see above
        log.warning("Could not %s: %s", what, error)
        return None


def _monitoring_checkpoint(trainer: Trainer) -> ModelCheckpoint | None:
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor is not None:
            return callback
    return None


def _sizes(trainer: Trainer) -> str:
    loaders = {"train": trainer.train_dataloader, "val": trainer.val_dataloaders}
    sizes = []
    for name, loader in loaders.items():
        dataset = getattr(loader, "dataset", None)
        if hasattr(dataset, "__len__"):
            sizes.append(f"{len(dataset):,} {name}")
    return ", ".join(sizes) or "sizes unknown"


def _batch_size(size: int | None, processes: int, accumulated: int) -> str:
    if size is None:
        return "unknown"
    if processes * accumulated == 1:
        return str(size)
    total = size * processes * accumulated
    return f"{total} = {size} x {processes} processes x {accumulated} accumulated"


def _git(*arguments: str) -> str | None:
    settings: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 5, "check": True}
    try:
        found = subprocess.run(["git", "-C", str(PROJECT_ROOT), *arguments], **settings)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
