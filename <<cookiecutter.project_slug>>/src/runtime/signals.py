"""Ctrl-C, SIGTERM and SIGUSR1: write a checkpoint first, then end with a telling exit code.

Batch systems send SIGTERM or SIGUSR1 some seconds before they kill a job. During training the
signal waits for `LastCheckpoint`, which calls `raise_if_received` once its file is written; a
second signal, or one at another time, ends the run at once.
"""

import os
import signal
import threading
from types import FrameType, SimpleNamespace

EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGUSR1": 143}


# The name of the signal that was received; whether it waits for `raise_if_received`, as while
# training; the numbers of the signals that are handled here.
state = SimpleNamespace(received=None, is_deferred=False, handled=[])


class Interrupted(SystemExit):
    """Exit of the process after a signal, with the matching exit code."""


def handle_signal(number: int, frame: FrameType | None) -> None:
    """Record the first signal while signals are deferred; otherwise raise `Interrupted`."""
    name = signal.Signals(number).name
    is_first, state.received = state.received is None, name
    if not (state.is_deferred and is_first):
        raise_if_received()
    # Not through a logger, which the signal may have interrupted.
    os.write(2, f"\n{name}: writing a checkpoint first; repeat to end now\n".encode())


def install_handlers() -> None:
    """Install handlers for SIGINT, SIGTERM and SIGUSR1, unless others are installed."""
    default = (signal.SIG_DFL, signal.default_int_handler)
    numbers = [signal.Signals[name] for name in EXIT_CODES]
    state.handled += [number for number in numbers if signal.getsignal(number) in default]
    reinstall_handlers()


def reinstall_handlers() -> None:
    """Reinstall the signal handlers, which Lightning replaces when `fit` begins."""
    # Python allows handlers there only: a run in a thread of a notebook goes without.
    if threading.current_thread() is threading.main_thread():
        for number in state.handled:
            signal.signal(number, handle_signal)


def raise_if_received() -> None:
    """Raise `Interrupted` if a signal has been received."""
    if state.received:
        raise Interrupted(EXIT_CODES[state.received])


def _leave_to_parent() -> None:
    # Ctrl-C reaches the workers of a data loader as well: if they died of it, so would the run,
    # before its checkpoint is written.
    for number in state.handled:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)


os.register_at_fork(after_in_child=_leave_to_parent)
