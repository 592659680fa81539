"""One run from start to end: claim its folder, record it in `run.json`, print a summary."""

import logging
import os
import shlex
import subprocess
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import to_absolute_path
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.model_helpers import is_overridden
from omegaconf import DictConfig, OmegaConf, open_dict

from src.runtime import describe, distributed, run_folder, signals
from src.runtime.build import Objects, build, config_as_plain_dict
from src.runtime.describe import warn_on_failure
from src.runtime.overrides import is_existing_folder
from src.runtime.project import ConfigError, override_list
from src.runtime.run_folder import Claim

log = logging.getLogger(__name__)


class Run:
    """A single run with its folder, objects and metrics.

    Args:
        cfg: its configuration, with the path of its folder fixed.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.cfg = cfg
        self.dir = Path(cfg.paths.output_dir)
        self.ckpt_path = _checkpoint_to_start_from(cfg)  # None: none
        self.claim: Claim | None = None
        self.objects: Objects | None = None
        self.metrics: dict[str, Any] = {}
        self.best: dict[str, Any] = {}  # for the test, Lightning makes new callbacks of the module

    def build_objects(self) -> Objects:
        """Build the objects of the run, and save and log its configuration."""
        observer = describe.RunObserver(self.dir, self.cfg.get("monitor"))
        self.objects = build(self.cfg, [observer], self.claim)
        self.cfg = self.objects["cfg"]
        config = config_as_plain_dict(self.cfg)
        if self.claim:
            with warn_on_failure("write config.yaml"):
                OmegaConf.save(OmegaConf.create(config), self.dir / "config.yaml")
        for logger in self.objects["trainer"].loggers:
            with warn_on_failure("log the configuration"):
                logger.log_hyperparams(config)
        return self.objects

    def can_test(self) -> bool:
        """Return whether model and data define a test, and log a message if not."""
        assert self.objects is not None
        model, datamodule = self.objects["model"], self.objects["datamodule"]
        loaders = [is_overridden("test_dataloader", part) for part in (model, datamodule)]
        found = is_overridden("test_step", model) and any(loaders)
        if not found:
            log.info("Nothing is tested: that needs a test_step and a test_dataloader")
        return found

    def collect_results(self, trainer: Any) -> None:
        """Collect the trainer's current metrics and best checkpoint, for `run.json`."""
        self.metrics |= trainer.callback_metrics
        self.best = describe.best_checkpoint_record(trainer, self.dir) or self.best


@contextmanager
def open_run(cfg: DictConfig) -> Generator[Run]:
    """Claim the run folder, update `run.json`, and print a summary at the end.

    Raises:
        ConfigError: if the folder belongs to a live or a finished run.
        signals.Interrupted: on Ctrl-C, SIGTERM or SIGUSR1.
    """
    _quiet_libraries()
    run = Run(_with_own_folder(cfg))
    if distributed.global_rank() == 0:
        run.claim = _claim(run)
    status, error = "failed", None
    try:
        yield run
        status = "finished"
    except (signals.Interrupted, SIGTERMException, KeyboardInterrupt) as reason:
        status, error = "killed", signals.state.received or type(reason).__name__
        raise
    except BaseException as reason:
        error = f"{type(reason).__name__}: {reason}".splitlines()[0]
        raise
    finally:
        signals.state.is_deferred = False
        if run.claim and not run.claim.is_lost():
            _end(run, status, error)
        if run.claim:
            run.claim.release()


def _quiet_libraries() -> None:
    """Print Lightning's messages from warnings on, and no warnings that concern nobody."""
    logging.raiseExceptions = False  # a full disk: no traceback for each line of the log file
    for name in ("lightning.pytorch", "lightning.fabric", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")  # a resume
    # Lightning 2.6 asks torch 2.15 in a way that this no longer likes.
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")


def _with_own_folder(cfg: DictConfig) -> DictConfig:
    """Return a copy of the configuration whose output folder is fixed."""
    cfg = cfg.copy()
    OmegaConf.clear_cache(cfg)  # a configuration that is used twice makes two runs
    with open_dict(cfg):
        cfg.pop("hydra", None)  # of a notebook: `compose(..., return_hydra_config=True)`
    for key in ("ckpt_path", "init_from"):  # from where the command was typed: `hydra.job.chdir`
        if (path := cfg.get(key)) and Path(to_absolute_path(path)).exists():
            cfg[key] = to_absolute_path(path)
    is_continued = not HydraConfig.initialized() and is_existing_folder(cfg.get("ckpt_path"))
    cfg.paths.output_dir = cfg.ckpt_path if is_continued else str(cfg.paths.output_dir)
    return cfg


def _checkpoint_to_start_from(cfg: DictConfig) -> str | None:
    """Return the checkpoint that training continues from: of its folder, or the one named."""
    if found := run_folder.checkpoints_newest_first(cfg.paths.output_dir):
        return str(found[0])
    wanted = cfg.get("ckpt_path")
    if not wanted or is_existing_folder(wanted):
        return None
    return str(run_folder.find_checkpoint(wanted, cfg.paths.log_dir))


def _claim(run: Run) -> Claim:
    former = run_folder.read_run(run.dir)
    is_continued = is_existing_folder(run.cfg.get("ckpt_path"))
    if former.get("status") == "finished" and not is_continued:
        more = f"Type ckpt_path={shlex.quote(str(run.dir))} and a larger trainer.max_epochs"
        raise ConfigError(f"{run.dir} holds a finished run. {more}, or choose another folder")
    claim = Claim.acquire(run.dir)
    overrides = override_list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    content = {
        "started": run_folder.iso_now(),
        "metrics": {},
        **former,
        "status": "running",
        "task": run.cfg.task_name,
        "ended": None,
        "resumed": former.get("resumed", -1) + 1,
        "overrides": [o for o in overrides if not (is_continued and o.startswith("ckpt_path="))],
        "monitor": run.cfg.get("monitor"),
        "mode": run.cfg.get("mode"),
        "error": None,
        "environment": describe.versions_command_and_commit(),
    }
    run_folder.update_run(run.dir, **content)
    return claim


def _end(run: Run, status: str, error: str | None) -> None:
    """Record how a run ended, close its trackers, and print a summary."""
    changes: dict[str, Any] = {"status": status, "ended": run_folder.iso_now(), "error": error}
    if objects := run.objects:
        trainer = objects["trainer"]
        if metrics := trainer.callback_metrics | run.metrics:  # else those of before a resume stay
            changes["metrics"] = {name: float(value) for name, value in metrics.items()}
        changes |= describe.best_checkpoint_record(trainer, run.dir) or run.best
        if substitute := getattr(objects["datamodule"], "substitute", None):
            changes["substitute"] = substitute
        for logger in trainer.loggers:
            with warn_on_failure("close a tracker"):
                logger.finalize("success" if status == "finished" else "failed")
    with warn_on_failure("write run.json"):
        run_folder.update_run(run.dir, **changes)
    if objects:
        with warn_on_failure("summarise the run"):
            describe.print_final_summary(run.cfg, objects, changes)
    if signals.state.received == "SIGUSR1" and "SLURM_JOB_ID" in os.environ:
        subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False)
