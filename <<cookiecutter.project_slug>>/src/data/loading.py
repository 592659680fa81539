"""Data loaders that resume in the middle of an epoch, and their settings on this machine."""

import math
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data.distributed import DistributedSampler

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of CPU time per period
MAX_WORKERS = 8  # each is a process with its own copy of Python


def default_workers() -> int:
    """Return one worker for each core that this process may use, at most `MAX_WORKERS`."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux: the cores that a cluster granted
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no container, or one without a limit
        quota, period = CPU_LIMIT.read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return min(cores, MAX_WORKERS)


def loader_settings(num_workers: int, chosen: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return arguments for a DataLoader: defaults for this machine, overridden by `chosen`."""
    settings: dict[str, Any] = {
        "num_workers": num_workers,
        "pin_memory": torch.cuda.is_available(),
        "persistent_workers": num_workers > 0,
    }
    if num_workers > 0:
        settings["prefetch_factor"] = 4
    return settings | dict(chosen or {})


class EpochSampler(DistributedSampler[Any]):
    """Sample in an order that depends only on the seed and the epoch.

    Lightning calls `set_epoch` on a DistributedSampler and never replaces one.

    Args:
        dataset: what to sample from.
        shuffle: draw a new order each epoch.
        seed: of the order.
    """

    def __init__(self, dataset: Dataset[Any], shuffle: bool, seed: int) -> None:
        several = distributed.is_available() and distributed.is_initialized()
        super().__init__(
            dataset,
            num_replicas=distributed.get_world_size() if several else 1,
            rank=distributed.get_rank() if several else 0,
            shuffle=shuffle,
            seed=seed,
        )
        self.start = 0  # samples of the next epoch to skip

    def __iter__(self) -> Iterator[int]:
        """Yield this process's indices of the epoch."""
        start, self.start = self.start, 0
        yield from list(super().__iter__())[start:]


class SeededFetch(Dataset[Any]):
    """Fetch batches in a worker with random numbers that depend only on the seed and the batch.

    So random augmentation is the same after a resume, and with any number of workers above 0.

    Args:
        dataset: what to fetch from; map-style.
        seed: of the loader.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        """Look up everything else in the dataset itself."""
        if name in ("dataset", "__setstate__"):  # not there yet while a worker unpickles
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __getitem__(self, index: int) -> Any:
        """Return one sample."""
        return self.dataset[index]

    def __getitems__(self, indices: list[int]) -> Any:
        """Return the samples of a batch."""
        if get_worker_info() is not None:
            batch_seed = hash((self.seed, *indices)) % 2**32
            random.seed(batch_seed)
            np.random.seed(batch_seed)
            torch.manual_seed(batch_seed)
        if hasattr(self.dataset, "__getitems__"):
            return self.dataset.__getitems__(indices)
        return [self.dataset[index] for index in indices]


class ResumableLoader(DataLoader[Any]):
    """A DataLoader that continues in the middle of an epoch; Lightning saves and loads its state.

    Args:
        dataset: map-style, with a length.
        batch_size: samples of a batch, on each device.
        shuffle: draw a new order each epoch.
        sampler: replaces the default `EpochSampler`.
        seed: of the order; None takes the seed of `seed_everything`, or a random one.
        settings: further arguments of `DataLoader`.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int = 1,
        shuffle: bool = False,
        sampler: Any = None,
        seed: int | None = None,
        **settings: Any,
    ) -> None:
        seed = torch.initial_seed() % 2**31 if seed is None else seed
        settings.setdefault("generator", torch.Generator().manual_seed(seed))
        super().__init__(
            SeededFetch(dataset, seed) if settings.get("num_workers") else dataset,
            batch_size=batch_size,
            sampler=EpochSampler(dataset, shuffle, seed) if sampler is None else sampler,
            **settings,
        )
        self._done = self._skip = 0  # batches

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of the epoch that are left."""
        self._done, self._skip = self._skip, 0
        if isinstance(self.sampler, EpochSampler):
            self.sampler.start = self._done * (self.batch_size or 1)
        for batch in super().__iter__():
            self._done += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the place in the order: seed, epoch, and batches of the epoch that were drawn."""
        sampler = self.sampler
        state = {"batches_drawn": self._done}
        if isinstance(sampler, EpochSampler):
            state |= {"epoch": sampler.epoch, "seed": sampler.seed}
        return state

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after the batches that were drawn; a complete epoch is not repeated."""
        self._skip = state["batches_drawn"] % len(self)
        if isinstance(self.sampler, EpochSampler) and "seed" in state:
            self.sampler.seed = state["seed"]
            self.sampler.set_epoch(state["epoch"] + (state["batches_drawn"] == len(self)))
            if isinstance(self.dataset, SeededFetch):
                self.dataset.seed = state["seed"]
