"""A run from its first line to its last: claimed, recorded, summarised."""

import logging
import os
import platform
import shlex
import subprocess
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import to_absolute_path
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.model_helpers import is_overridden
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from src.runtime import distributed, signals
from src.runtime.build import Objects, build, plain_config
from src.runtime.checkpoints import is_readable
from src.runtime.describe import (
    RunObserver,
    best_result,
    describe_environment,
    print_end,
    warn_on_failure,
)
from src.runtime.files import write_atomically
from src.runtime.project import ConfigError
from src.runtime.resume import checkpoints_of, find_checkpoint, is_folder_to_continue
from src.runtime.run_folder import Claim, now, read_run, write_run

log = logging.getLogger(__name__)


class Run:
    """One run: its folder, what it is made of, and what it has measured so far.

    Args:
        cfg: its configuration, with the path of its folder fixed.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.cfg = cfg
        self.dir = Path(cfg.paths.output_dir)
        self.claim: Claim | None = None
        self.objects: Objects | None = None
        self.metrics: dict[str, Tensor] = {}
        self.ckpt_path: str | None = None  # to resume from

    def build(self) -> Objects:
        """Build the objects of the run, and record the configuration."""
        observer = RunObserver(self.dir, self.cfg.get("monitor"))
        self.objects = build(self.cfg, [observer], self.claim)
        self.cfg = self.objects["cfg"]
        config = plain_config(self.cfg)
        if distributed.global_rank() == 0:
            warn_on_failure("write config.yaml", partial(self._write_config, config))
        for logger in self.objects["trainer"].loggers:
            warn_on_failure("log the configuration", partial(logger.log_hyperparams, config))
        return self.objects

    def collect(self) -> None:
        """Take over the metrics that the trainer holds."""
        assert self.objects is not None
        self.metrics |= self.objects["trainer"].callback_metrics

    def can_test(self) -> bool:
        """Return whether there is something to test: a test step, and no interruption before."""
        assert self.objects is not None
        has_step = is_overridden("test_step", self.objects["model"])
        if not has_step:
            log.info("The model has no test_step: nothing is tested")
        return has_step

    def _write_config(self, config: dict[str, Any]) -> None:
        write_atomically(self.dir / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(config)))


@contextmanager
def open_run(cfg: DictConfig) -> Generator[Run]:
    """Own the folder of a run inside the `with`, keep `run.json`, and summarise at its end.

    Raises:
        ConfigError: if the folder belongs to a live or a finished run.
        signals.Interrupted: on Ctrl-C, SIGTERM or SIGUSR1.
    """
    run = Run(_with_own_folder(cfg))
    is_main = distributed.global_rank() == 0
    _quiet_libraries()
    distributed.quiet_other_ranks()
    run.ckpt_path = _checkpoint_to_start_from(run)
    if is_main:
        run.claim = _claim(run)
    status, error = "failed", None
    try:
        yield run
        status = "finished"
    except (signals.Interrupted, SIGTERMException, KeyboardInterrupt) as reason:
        status, error = "killed", str(reason) or type(reason).__name__
        raise
    except BaseException as reason:
        error = f"{type(reason).__name__}: {reason}".splitlines()[0]
        raise
    finally:
        signals.state.is_deferred = False
        if is_main and run.claim is not None:
            if not run.claim.lost():
                _end(run, status, error)
            run.claim.release()


def _quiet_libraries() -> None:
    """Print Lightning's messages once, in the log's format, and from warnings on."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()  # its own, beside the root's
        logger.setLevel(logging.WARNING)
    # Lightning 2.6 asks torch 2.15 in a way that this no longer likes.
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")


def _with_own_folder(cfg: DictConfig) -> DictConfig:
    """Return a copy of the configuration whose output folder is fixed."""
    cfg = cfg.copy()
    OmegaConf.clear_cache(cfg)  # a configuration that is used twice makes two runs
    folder = cfg.paths.output_dir
    if not HydraConfig.initialized() and is_folder_to_continue(cfg.get("ckpt_path")):
        folder = Path(cfg.ckpt_path).expanduser().resolve()
    cfg.paths.output_dir = str(folder)
    for key in ("ckpt_path", "init_from"):  # from where the command was typed: `hydra.job.chdir`
        if (path := cfg.get(key)) and Path(to_absolute_path(path)).exists():
            cfg[key] = to_absolute_path(path)
    return cfg


def _checkpoint_to_start_from(run: Run) -> str | None:
    """Return the checkpoint that training continues from: of this folder, or the one named."""
    wanted = run.cfg.get("ckpt_path")
    for path in checkpoints_of(run.dir):
        if is_readable(path):
            return str(path)
    if not wanted or is_folder_to_continue(wanted):
        return None
    return str(find_checkpoint(wanted, run.cfg.paths.log_dir))


def _claim(run: Run) -> Claim:
    former = read_run(run.dir)
    is_continued = is_folder_to_continue(run.cfg.get("ckpt_path"))
    if former and former["status"] == "finished" and not is_continued:
        raise ConfigError(
            f"{run.dir} holds a finished run. To train on: ckpt_path={shlex.quote(str(run.dir))} "
            "with a larger trainer.max_epochs; to start anew, choose another folder"
        )
    claim = Claim.acquire(run.dir)
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    overrides = list(hydra.overrides.task) if hydra else []
    write_run(
        run.dir,
        status="running",
        task=run.cfg.task_name,
        started=(former or {}).get("started") or now(),
        ended=None,
        resumed=(former or {}).get("resumed", -1) + 1,
        pid=os.getpid(),
        host=platform.node(),
        overrides=[o for o in overrides if not (is_continued and o.startswith("ckpt_path="))],
        experiment=hydra.runtime.choices.get("experiment") if hydra else None,
        monitor=run.cfg.get("monitor"),
        mode=run.cfg.get("mode"),
        metrics=(former or {}).get("metrics", {}),
        best_checkpoint=(former or {}).get("best_checkpoint"),
        error=None,
        environment=warn_on_failure("describe the environment", describe_environment),
    )
    return claim


def _end(run: Run, status: str, error: str | None) -> None:
    """Record how a run ended, wait for its tracker, and print a summary."""
    changes: dict[str, Any] = {"status": status, "ended": now(), "error": error}
    objects = run.objects
    if objects:
        run.metrics = objects["trainer"].callback_metrics | run.metrics
        changes["metrics"] = {name: value.item() for name, value in run.metrics.items()}
        changes |= best_result(objects["trainer"], run.dir)
        substitute = getattr(objects["datamodule"], "substitute", None)
        if substitute:
            changes["substitute"] = substitute
        for logger in objects["trainer"].loggers:
            is_success = "success" if status == "finished" else "failed"
            warn_on_failure("close a tracker", partial(logger.finalize, is_success))
    warn_on_failure("write run.json", partial(write_run, run.dir, **changes))
    if objects:
        warn_on_failure("summarise the run", partial(print_end, run.cfg, objects, changes))
    if signals.state.received == "SIGUSR1" and "SLURM_JOB_ID" in os.environ:
        subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False)
