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
    """What was received, and whether it can wait: for the next checkpoint, say."""

    def __init__(self) -> None:
        self.received: str | None = None
        self.wait = False  # set by who will call `end_if_asked`
        self.former: dict[int, Any] = {}  # handlers, by the number of their signal

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raise `Interrupted`; or, the first time, let it wait if it can."""
        name = signal.Signals(number).name
        first, self.received = self.received is None, name
        if self.wait and first:
            # Not the logger: the signal may have come while that was writing.
            os.write(2, f"\n{name}: ends as soon as it can; once more: at once\n".encode())
            return
        raise Interrupted(name)

    def end_if_asked(self) -> None:
        """Raise `Interrupted` if a signal came that waits, or whose exception was lost.

        Python drops those that arise in a `__del__`, say, and there is code that catches all.
        """
        if self.received:
            raise Interrupted(self.received)

    def install(self) -> None:
        """Take over what `handled` took on, which Lightning takes for itself in `fit`."""
        for number in self.former:
            signal.signal(number, self.handle)


current = Signals()


def _leave_to_parent() -> None:
    # Ctrl-C and the signals of a batch system go to the workers of a dataloader as well. Those
    # that died of them would take the run with them, before its checkpoint.
    for number in current.former:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
        elif hasattr(signal, "sigwaitinfo"):  # torch sets a handler: it must not come to that
            signal.pthread_sigmask(signal.SIG_BLOCK, [number])
            threading.Thread(target=_end_if_parent_says_so, daemon=True).start()


def _end_if_parent_says_so() -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


@contextmanager
def handled() -> Generator[None]:
    """Handle the signals inside the `with`, then put the former handlers back.

    A handler that somebody else put there, such as a launcher on a cluster, stays. One such `with`
    may stand inside another: the signals of a process, and those of a run in it.
    """
    numbers = [getattr(signal, name) for name in EXIT_CODES if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # Python allows no handlers there
    free = (signal.SIG_DFL, signal.default_int_handler, current.handle)
    former = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) in free}
    outer, current.former = current.former, former
    current.wait = False
    if not outer:
        current.received = None
    current.install()
    try:
        current.end_if_asked()
        yield
        current.end_if_asked()
    except SystemExit:  # which may be Lightning's own for SIGTERM
        current.end_if_asked()
        raise
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        current.former = outer


@contextmanager
def deferred() -> Generator[None]:
    """Let a signal wait until the end of the `with`, or until `handled` begins inside it.

    For imports: an exception that comes amid those of torch or NumPy can abort the process.
    """
    current.wait = True
    try:
        yield
    finally:
        current.wait = False
    current.end_if_asked()
