"""Ctrl-C, SIGTERM and SIGUSR1: a checkpoint first, then the end, with a code that tells.

Batch systems send SIGTERM or SIGUSR1 some seconds before they kill a job.
"""

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# SIGUSR1 ends with SIGTERM's code: both mean that somebody asked the run to go.
EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGUSR1": 143}


class Interrupted(SystemExit):
    """A signal asked the run to end; its `code` is the exit code of the process."""

    def __init__(self, name: str) -> None:
        super().__init__(EXIT_CODES[name])
        self.name = name

    def __str__(self) -> str:
        """The signal's name."""
        return self.name


class Signals:
    """What was received, and whether it can wait for the next checkpoint."""

    def __init__(self) -> None:
        self.received: str | None = None
        self.wait = False  # set by who will look at `received` and write a checkpoint
        self.former: dict[int, Any] = {}  # handlers, by the number of their signal

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raise `Interrupted`; or, the first time, let a checkpoint be written before."""
        name = signal.Signals(number).name
        if self.wait and self.received is None:
            self.received = name
            # Not the logger: the signal may have come while that was writing.
            os.write(2, f"\n{name}: ends after a checkpoint; once more: ends at once\n".encode())
            return
        raise Interrupted(name)

    def install(self) -> None:
        """Take over what `handled` took on, which Lightning takes for itself in `fit`."""
        for number in self.former:
            signal.signal(number, self.handle)


current = Signals()


@contextmanager
def handled() -> Generator[None]:
    """Handle the signals inside the `with`, then put the former handlers back.

    A handler that somebody else put there, such as a launcher on a cluster, stays.
    """
    numbers = [getattr(signal, name) for name in EXIT_CODES if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # Python allows no handlers there
    nobodys = (signal.SIG_DFL, signal.default_int_handler)
    former = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) in nobodys}
    current.former, current.received, current.wait = former, None, False
    current.install()
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
