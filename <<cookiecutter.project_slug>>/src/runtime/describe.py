"""What a run says and records about itself: its environment, its start, progress and end.

Epochs count from 0, as Lightning's bar, its logged `epoch` and the names of checkpoints do:
`epoch 2/9` is the third of ten, and its checkpoint is `epoch_002.ckpt`.
"""

import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Generator, Sized
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from omegaconf import DictConfig
from rich import get_console
from rich.file_proxy import FileProxy
from torch.nn.parameter import is_lazy

from src.runtime.build import Objects
from src.runtime.checkpoints import rename_compiled_weights
from src.runtime.command_line import state as command_state
from src.runtime.loggers import JSONLinesLogger
from src.runtime.mlflow_upload import run_page_url, upload_status_after_waiting
from src.runtime.project import PROJECT_ROOT, did_you_mean, is_sweep_job, quote_value, shell_command
from src.runtime.run_folder import checkpoints_newest_first

log = logging.getLogger(__name__)

DRAWINGS_PER_SECOND = 2


@contextmanager
def warn_on_failure(what: str) -> Generator[None]:
    """Log a warning instead of raising an exception from the `with` block.

    Args:
        what: what is done there, for the warning.
    """
    try:
        yield
    except Exception as error:  # any: see above
        log.warning("Could not %s: %s", what, error)


class RunObserver(Callback):
    """Log a summary when training starts, and warn if the monitored metric is not logged.

    Args:
        run_dir: the run folder.
        monitor: the metric that tells the best epoch; None: none does.
    """

    def __init__(self, run_dir: Path, monitor: str | None) -> None:
        self.run_dir, self.monitor = run_dir, monitor

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make checkpoints loadable whether or not parts of the model are compiled."""
        pl_module.register_load_state_dict_pre_hook(rename_compiled_weights)

    def on_train_batch_end(self, *arguments: Any, **further: Any) -> None:
        """Record that a batch has run, so that later errors keep their traceback."""
        command_state.training_started = True

    on_test_batch_end = on_predict_batch_end = on_train_batch_end

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn if validation does not log the monitored metric."""
        if self.monitor and self.monitor not in trainer.callback_metrics:
            log.warning("In validation %s", unlogged_monitor_message(self.monitor, trainer))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log a summary of the run, and warn if a metric is monitored without validation."""
        if trainer.is_global_zero:
            with warn_on_failure("summarise the run"):
                self._log_start(trainer, pl_module)
        if self.monitor and not trainer.enable_validation:
            log.warning("Without validation %s", unlogged_monitor_message(self.monitor, trainer))

    def _log_start(self, trainer: Trainer, model: LightningModule) -> None:
        trainable = [p for p in model.parameters() if p.requires_grad and not is_lazy(p)]
        loaders = {"train": trainer.train_dataloader, "val": trainer.val_dataloaders}
        found = [(name, getattr(loader, "dataset", None)) for name, loader in loaders.items()]
        sizes = [f", {len(data):,} {name}" for name, data in found if isinstance(data, Sized)]
        size = getattr(trainer.train_dataloader, "batch_size", None) or 0
        total = size * trainer.world_size * trainer.accumulate_grad_batches or "unknown"
        device = trainer.strategy.root_device
        trackers = [type(lg).__name__ for lg in trainer.loggers if type(lg) is not JSONLinesLogger]
        lines = {
            "model": f"{type(model).__name__}, {sum(p.numel() for p in trainable):,} parameters",
            "data": type(getattr(trainer, "datamodule", None) or model).__name__ + "".join(sizes),
            "batch size": f"{total} (of all processes and accumulated batches)",
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            "folder": str(self.run_dir),
            "tracker": ", ".join(trackers) or "none",
        }
        log.info("start\n" + "\n".join(f"{key + ':':<12} {text}" for key, text in lines.items()))


class ProgressBar(RichProgressBar):
    """Show a progress bar on a terminal, and log one line per epoch everywhere.

    In the jobs of a sweep, in log files and in CI there is no bar.
    """

    def __init__(self) -> None:
        is_shown = sys.stdout.isatty() and not is_sweep_job()
        super().__init__(refresh_rate=DRAWINGS_PER_SECOND if is_shown else 0)
        self._metrics: dict[str, Any] = {}
        self._next_reading = 0.0
        for handler in logging.getLogger().handlers if is_shown else ():
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
                handler.setStream(FileProxy(get_console(), sys.stdout))  # lines above the bar

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the metrics for the progress bar, updated at most twice per second."""
        if trainer.is_last_batch or monotonic() >= self._next_reading:
            self._metrics = super().get_metrics(trainer, pl_module)
            self._metrics.pop("v_num", None)
            self._next_reading = monotonic() + 1 / DRAWINGS_PER_SECOND
        return self._metrics

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the first epoch and its start time."""
        super().on_train_start(trainer, pl_module)
        self._epochs_logged = trainer.current_epoch
        self._epoch_started = monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the metrics of the previous epoch."""
        self.on_train_end(trainer, pl_module)
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the metrics of the last epoch, and show them."""
        self.on_train_epoch_end(trainer, pl_module)
        ended = trainer.current_epoch  # the number of epochs, which count from 0
        if ended == self._epochs_logged or not trainer.is_global_zero:
            return
        values = trainer.callback_metrics
        names = [name for name in values if name.rpartition("_")[0] not in values]  # no `loss_step`
        metrics = "  ".join(f"{name} {values[name]:.4g}" for name in names)
        epochs = trainer.max_epochs or 0
        last = f"/{epochs - 1}" if epochs > 0 else ""  # -1: no end
        seconds = monotonic() - self._epoch_started
        log.info("epoch %d%s: %s (%.1f s)", ended - 1, last, metrics, seconds)
        self._epochs_logged = ended
        self._epoch_started = monotonic()


def unlogged_monitor_message(monitor: str, trainer: Trainer) -> str:
    """Return a warning that `monitor` was not logged, listing the metrics that were."""
    near = did_you_mean(monitor, trainer.callback_metrics, "monitor={}")
    logged = ", ".join(trainer.callback_metrics) or "nothing. Type monitor=null"
    return f"monitor={monitor} is not logged.{near} Logged: {logged}"


@warn_on_failure("describe the environment")
def versions_command_and_commit() -> dict[str, Any] | None:
    """Return versions, command line and git commit, or None with a warning if that fails."""
    root = shlex.quote(str(PROJECT_ROOT))
    git = f"git -C {root} describe --always --dirty --abbrev=40 --exclude='*'"
    failed, commit = subprocess.getstatusoutput(git)
    return {
        "python": sys.version.split()[0],
        **{package: version(package) for package in ("torch", "lightning", "hydra-core")},
        "command": shlex.join(["python", *sys.argv]),
        "git_commit": None if failed else commit,  # with -dirty behind it after changes
    }


def best_model_checkpoint(trainer: Trainer) -> ModelCheckpoint | None:
    """Return the callback that has saved a best checkpoint, or None if there is none."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor is not None:
            return callback if Path(callback.best_model_path).is_file() else None
    return None


def best_checkpoint_record(trainer: Trainer, run_dir: Path) -> dict[str, Any]:
    """Return path, metric and epoch of the best checkpoint, or {} if there is none."""
    callback = best_model_checkpoint(trainer)
    if callback is None or callback.best_model_score is None:
        return {}
    epoch = re.search(r"epoch[_=](\d+)", Path(callback.best_model_path).name)
    return {
        "best_checkpoint": os.path.relpath(callback.best_model_path, run_dir),
        "monitor": callback.monitor,
        "mode": callback.mode,
        "best_value": float(callback.best_model_score),
        "best_epoch": int(epoch[1]) if epoch else None,
    }


def print_final_summary(cfg: DictConfig, objects: Objects, record: dict[str, Any]) -> None:
    """Print a run's status and results, with the command to evaluate or resume it.

    Args:
        cfg: of the run.
        objects: of the run.
        record: the keys of `run.json` that its end has set.
    """
    trainer, run_dir = objects["trainer"], cfg.paths.output_dir
    reason = record["error"] or ("stopped early" if trainer.should_stop else "")
    epochs = f"{trainer.current_epoch} epochs" if trainer.global_step else ""
    lines = {"status": ", ".join(filter(None, [record["status"], epochs, reason]))}
    if "best_value" in record:
        best = f"{record['monitor']} {record['best_value']:.4g}"
        lines["best"] = f"{best} in epoch {record['best_epoch']}"
    if tested := [f"{k} {v:.4g}" for k, v in record.get("metrics", {}).items() if k[:4] == "test"]:
        lines["test"] = ", ".join(tested)
    if "substitute" in record:
        lines["data"] = f"{record['substitute']} INSTEAD of the dataset that was asked for"
    for part in (*getattr(trainer, "callbacks", ()), *trainer.loggers):
        lines |= vars(part).get("final_summary", {})
    if cfg.get("ckpt_path") not in (None, run_dir):
        lines["checkpoint"] = cfg.ckpt_path
    lines["folder"] = run_dir
    if checkpoints_newest_first(run_dir):
        is_whole = record["status"] == "finished"
        key, script = ("evaluate", "src/eval.py") if is_whole else ("resume", "src/train.py")
        lines[key] = shell_command(script, f"ckpt_path={quote_value(run_dir)}")
    if not is_sweep_job() and (upload := upload_status_after_waiting(run_dir)):
        lines["mlflow"] = upload
        lines["page"] = run_page_url(run_dir) or shell_command("src/ui.py", str(run_dir))
    print("\n" + "\n".join(f"{key + ':':<12} {value}" for key, value in lines.items()), flush=True)
