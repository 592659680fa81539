"""Ctrl-C, SIGTERM and SIGUSR1: write a checkpoint first, then end with a telling exit code.

Batch systems send SIGTERM or SIGUSR1 some seconds before they kill a job. During training the
signal waits for `LastCheckpoint`, which calls `raise_if_received` once its file is written; a
second signal, or one at another time, ends the run at once.
"""

import os
import signal
import threading
from types import FrameType

EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGUSR1": 143}


class Interrupted(SystemExit):
    """A signal asked the run to end; `code` is the exit code of the process."""

    def __init__(self, name: str) -> None:
        super().__init__(EXIT_CODES[name])


class SignalState:
    """The signal that was received, and whether somebody will act on it soon."""

    def __init__(self) -> None:
        self.received: str | None = None
        self.is_deferred = False  # set while training; then `raise_if_received` is called
        self.handled: list[int] = []

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note a deferred signal; raise `Interrupted` for any other."""
        name = signal.Signals(number).name
        is_first, self.received = self.received is None, name
        if not (self.is_deferred and is_first):
            raise Interrupted(name)
        # Not through a logger, which the signal may have interrupted.
        os.write(2, f"\n{name}: writing a checkpoint first; repeat to end now\n".encode())


state = SignalState()


def install() -> None:
    """Handle the signals, unless somebody else, such as a cluster's launcher, already does."""
    default = (signal.SIG_DFL, signal.default_int_handler)
    numbers = [signal.Signals[name] for name in EXIT_CODES]
    state.handled += [number for number in numbers if signal.getsignal(number) in default]
    reinstall()


def reinstall() -> None:
    """Take the signals back from Lightning, which handles SIGTERM itself once `fit` begins."""
    # Python allows handlers there only: a run in a thread of a notebook goes without.
    if threading.current_thread() is threading.main_thread():
        for number in state.handled:
            signal.signal(number, state.handle)


def raise_if_received() -> None:
    """Raise `Interrupted` if a signal is waiting."""
    if state.received:
        raise Interrupted(state.received)


def _leave_to_parent() -> None:
    # Ctrl-C reaches the workers of a data loader as well: if they died of it, so would the run,
    # before its checkpoint is written.
    for number in state.handled:
        is_sigterm = number == signal.SIGTERM
        signal.signal(number, signal.SIG_DFL if is_sigterm else signal.SIG_IGN)


os.register_at_fork(after_in_child=_leave_to_parent)
