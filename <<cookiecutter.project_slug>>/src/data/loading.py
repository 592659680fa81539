"""How a DataLoader works where nobody says otherwise: by what the machine has."""

import os
from collections.abc import Mapping
from typing import Any

import torch

MOST_WORKERS = 8  # each holds a copy of Python; more seldom make a step wait less
PREFETCH = 4  # batches ahead that each worker fetches


def default_workers() -> int:
    """Return a worker for each core that this process may use, `MOST_WORKERS` at the most."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux: what a batch system granted
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)


def loader_settings(num_workers: int, chosen: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return arguments for a DataLoader: the machine's defaults, and `chosen` over them.

    Memory is pinned where there is a GPU to copy it to; workers stay from epoch to epoch.
    """
    settings: dict[str, Any] = {
        "num_workers": num_workers,
        "pin_memory": torch.cuda.is_available(),
    }
    if num_workers > 0:
        settings |= {"persistent_workers": True, "prefetch_factor": PREFETCH}
    return settings | dict(chosen or {})
