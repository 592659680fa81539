"""Several processes that make one run: started right, fed right, and refused where they cannot."""

import logging
import os
import sys
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from torch.utils._pytree import tree_map
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, SequentialSampler

from src.runtime.config.plain_config import as_typed
from src.runtime.process import ranks

log = logging.getLogger(__name__)

SET_BY_LIGHTNING = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
ENVIRONMENT = (*SET_BY_LIGHTNING, ranks.RUN_DIR)
NO_PROCESSES = ("joblib", "LocalLauncher", "ray")  # launchers whose jobs cannot start processes
END_SECONDS = 60  # the other processes have, to end after rank 0


@contextmanager
def one_job() -> Generator[None]:
    """Let the processes that Lightning starts inside the `with` run this job, and nothing else.

    Lightning starts them by repeating the command line. In a sweep that would be the whole sweep,
    in each process, with other parameters if a search draws them: so each gets the overrides of
    this job instead, and its folder. Afterwards the next job finds everything as it was.
    """
    if not HydraConfig.initialized():
        yield
        return
    hydra = HydraConfig.get()
    argv, environ = list(sys.argv), {name: os.environ.get(name) for name in ENVIRONMENT}
    if ranks.global_rank() == 0:
        os.environ[ranks.RUN_DIR] = hydra.runtime.output_dir
    job = [o for o in as_typed(hydra.overrides.task) if not o.startswith("sweep_name=")]
    sys.argv[1:] = [*_flags(hydra), *as_typed(hydra.overrides.hydra), *job, "hydra.mode=RUN"]
    try:
        yield
    finally:
        sys.argv[:] = argv
        for name, value in environ.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def check(trainer: Trainer) -> None:
    """Refuse to train in several processes where the launcher's jobs cannot start them.

    Raises:
        ValueError: naming what works instead.
    """
    if not HydraConfig.initialized() or _processes(trainer) is None:
        return
    target = HydraConfig.get().launcher._target_
    if HydraConfig.get().mode == RunMode.MULTIRUN and any(name in target for name in NO_PROCESSES):
        raise ValueError(
            f"{type(trainer.strategy).__name__} cannot start its processes inside a job of "
            f"{target.rpartition('.')[2]}. Use hydra/launcher=basic (one job after the other), "
            "hydra/launcher=submitit_slurm, or trainer.devices=1"
        )


def join(trainer: Trainer, status: str) -> None:
    """Wait for the processes that Lightning started; end them if the run did not finish."""
    if not (processes := _processes(trainer)):
        return
    for process in processes:
        if status != "finished":
            process.kill()
        process.wait(END_SECONDS)
    processes.clear()  # else Lightning's observer ends this process for the failure of that one
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # the next job of a sweep makes its own


def _processes(trainer: Trainer) -> list[Any] | None:
    """Return the processes that Lightning started beside this one; None if it starts none."""
    launcher = getattr(trainer.strategy, "launcher", None)
    return launcher.procs if isinstance(launcher, _SubprocessScriptLauncher) else None


def _flags(hydra: Any) -> list[str]:
    """Return the options that say where the configuration was found."""
    flags = ["--config-name", hydra.job.config_name]
    for source in hydra.runtime.config_sources:
        if source.provider == "command-line":
            flags += ["--config-dir", source.path]
    return flags


def quiet_but_rank_zero() -> None:
    """Take the log file from the other ranks, and let their warnings alone reach the terminal."""
    if ranks.global_rank() == 0:
        return
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, logging.FileHandler):
            root.removeHandler(handler)
        else:
            handler.setLevel(logging.WARNING)


class WholeSetOnce(Callback):
    """Evaluate each sample once, however many processes share a set.

    Lightning gives each process as many samples as the others, and repeats some for that: the
    metrics are then not those of the set. Here each gets its exact share, in as many batches as
    the others, so that none waits for a batch that another does not have. Buffers, such as the
    statistics of a BatchNorm, are those of rank 0 in each process, as in the checkpoint.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Hand out exact shares wherever the datamodule reads a set in its order."""
        datamodule = trainer.datamodule  # ty: ignore[missing-attribute]
        if trainer.world_size == 1 or datamodule is None:
            return
        # Lightning warns that evaluation repeats samples. Here it does not.
        warnings.filterwarnings("ignore", ".*Using `DistributedSampler` with the dataloaders.*")
        for name in ("val_dataloader", "test_dataloader"):
            loaders = getattr(datamodule, name)
            if not getattr(loaders, "shares_exactly", False):
                setattr(datamodule, name, _sharing(loaders, trainer.world_size))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the buffers of rank 0."""
        if trainer.world_size > 1 and torch.distributed.is_initialized():
            for buffer in pl_module.buffers():
                torch.distributed.broadcast(buffer, 0)


class EqualBatches(BatchSampler):
    """The exact share of this process, in batches of nearly equal size.

    Lightning replaces `sampler` by a `DistributedSampler`, which knows rank and processes; without
    one this is a plain `BatchSampler`.
    """

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of each batch."""
        if not isinstance(self.sampler, DistributedSampler):
            yield from super().__iter__()
            return
        total, processes = len(self.sampler.dataset), self.sampler.num_replicas  # ty: ignore[invalid-argument-type]
        share = range(self.sampler.rank, total, processes)
        for i in range(len(self)):
            yield list(share[i * len(share) // len(self) : (i + 1) * len(share) // len(self)])

    def __len__(self) -> int:
        """Number of batches, the same on each rank."""
        if not isinstance(self.sampler, DistributedSampler):
            return super().__len__()
        total, processes = len(self.sampler.dataset), self.sampler.num_replicas  # ty: ignore[invalid-argument-type]
        return -(-total // (processes * self.batch_size))


def _sharing(loaders: Any, processes: int) -> Any:
    """Return a dataloader hook whose loaders share their set exactly."""

    def sharing() -> Any:
        return tree_map(lambda loader: share_exactly(loader, processes), loaders())

    sharing.shares_exactly = True  # ty: ignore[missing-attribute]
    return sharing


def share_exactly(loader: Any, processes: int) -> Any:
    """Return a loader like `loader` whose batches Lightning can share without repeating samples.

    What is no plain `DataLoader` in the order of its set comes back as it is; so does, with a
    warning, a set too small to give each process something in each batch.
    """
    plain = isinstance(loader, DataLoader) and type(loader.sampler) is SequentialSampler
    if not plain or type(loader.batch_sampler) is not BatchSampler or loader.drop_last:
        return loader
    samples, batch_size = len(loader.dataset), loader.batch_size
    if samples // processes < -(-samples // (processes * batch_size)):
        log.warning(
            "%d samples in batches of %d cannot be shared by %d processes without repeating some: "
            "the metrics count those twice.",
            *(samples, batch_size, processes),
        )
        return loader
    kept = ("num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "generator")
    kept += ("multiprocessing_context", "prefetch_factor", "persistent_workers")
    return type(loader)(
        loader.dataset,
        batch_sampler=EqualBatches(loader.sampler, batch_size, drop_last=False),
        **{name: getattr(loader, name) for name in kept},
    )


class EffectiveBatch(Callback):
    """Say how many samples an optimizer step really sees, and with which learning rate."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log one line, on rank 0."""
        size = getattr(trainer.train_dataloader, "batch_size", None)
        if size is None or not trainer.is_global_zero:
            return
        processes, accumulated = trainer.world_size, trainer.accumulate_grad_batches
        rates = [f"{group['lr']:g}" for o in trainer.optimizers for group in o.param_groups]
        log.info(
            "Effective batch size %d = %d x %d process%s x %d accumulated; learning rate %s",
            *(size * processes * accumulated, size, processes, "es"[: 2 * (processes > 1)]),
            *(accumulated, ", ".join(rates) or "none"),
        )
