"""One stopwatch for all sides: a line of JSON for each epoch, in the file that STOPWATCH names."""

import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

WARM_UP = 10  # steps of each epoch that are not counted: the first ones fill caches


class Stopwatch:
    """Call its methods where they say; a line is written at the end of each epoch.

    `start` and `first_step` are seconds since 1970, to compare with when a process was launched;
    `train` is the time of `steps` training steps after the warm-up, `all_train` that of the
    `all_steps` of the epoch, fetching the first batch included, `epoch` that of all that belongs to
    the epoch, each in seconds; `peak` of the process, and `memory` now, of it and its children, in
    bytes; `threads` are torch's.

    Args:
        wait: called before the clock is read, to wait for a GPU.
    """

    def __init__(self, wait: Callable[[], object] = lambda: None) -> None:
        self.wait = wait
        self.first_step: float | None = None

    def epoch_starts(self) -> None:
        """Call before the first batch is fetched."""
        self.wait()
        self.start, self.began = time.time(), time.perf_counter()
        self.steps, self.train, self.all_train = 0, None, None

    def step_ends(self) -> None:
        """Call after each optimizer step."""
        self.steps += 1
        if self.first_step is None:
            self.wait()
            self.first_step = time.time()
        if self.steps == WARM_UP:
            self.wait()
            self.warm = time.perf_counter()

    def training_ends(self) -> None:
        """Call after the last step of the epoch, before validation."""
        self.wait()
        now = time.perf_counter()
        self.all_train = now - self.began
        self.train = now - self.warm if self.steps > WARM_UP else None

    def epoch_ends(self, **measured: Any) -> None:
        """Call when all that belongs to the epoch is done."""
        line = {
            "start": self.start,
            "first_step": self.first_step,
            "steps": self.steps - WARM_UP,
            "train": self.train,
            "all_steps": self.steps,
            "all_train": self.all_train,
            "epoch": time.perf_counter() - self.began,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "memory": proportional_memory(),
            "threads": torch.get_num_threads(),
            **measured,
        }
        with open(os.environ["STOPWATCH"], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def proportional_memory() -> int:
    """Return the bytes of this process and its children, pages that they share counted once."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    if not children.exists():  # not Linux
        return 0
    total = 0
    for pid in [os.getpid(), *children.read_text().split()]:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total
