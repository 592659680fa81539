"""The process that delivers a run's journal while the run trains.

python -m src.runtime.tracker.mlflow_follower FOLDER PATIENCE SYSTEM_METRICS

A training run starts it; nobody has to. It imports MLflow, waits for servers and retries, none of
which then costs a training step. It ends when its standard input says `close`, or ends because the
run died: then it delivers what is left, waits `PATIENCE` seconds at most for a store that makes no
progress, and leaves the rest in the journal for `src/sync.py`. The address of the store comes in
`MLFLOW_TRACKING_URI`. What it prints, a line each, is for the run to log: words for its log, and
every `SYSTEM_METRICS` seconds (0: never) a sample of the machine for its journal.
"""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from filelock import FileLock

from src.runtime.tracker.mlflow_delivery import Delivery, without_password
from src.runtime.tracker.system_metrics import print_samples

POLL_SECONDS = 0.5
MAX_WAIT_SECONDS = 15.0  # between attempts at a store that is down

log = logging.getLogger(__name__)


class Discreet(logging.Formatter):
    """Writes no password of an address into the log: MLflow's errors name the address in full."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback if there is one."""
        return without_password(super().format(record))


def follow(folder: Path, uri: str, patience: float, system_metrics: float) -> bool:
    """Deliver until the run has ended; return whether everything arrived."""
    closed = threading.Event()
    threading.Thread(target=_await_close, args=(closed,), daemon=True).start()
    delivery = Delivery(folder, uri)
    if system_metrics:
        sampled = (delivery.description["started"], system_metrics, closed)
        threading.Thread(target=print_samples, args=sampled, daemon=True).start()
    wait, failing, progress, last = POLL_SECONDS, False, time.monotonic(), None
    while True:
        ended = closed.is_set()  # asked first: what was written before the end is then delivered
        try:
            delivery.deliver()
            if ended:
                delivery.finish()
                return True
            if failing:
                _say(f"MLflow at {without_password(uri)} answers again.")
            wait, failing = POLL_SECONDS, False
        except Exception as error:
            log.info("Not delivered: %s", error, exc_info=not failing)
            if not failing:
                reason = without_password(str(error)).splitlines()[0][:300]
                _say(
                    f"MLflow at {without_password(uri)} does not take the records of this run "
                    f"({reason}). Training goes on; they are kept in {folder} until it does."
                )
            wait, failing = min(2 * wait, MAX_WAIT_SECONDS), True
        if delivery.state != last or not ended:
            progress, last = time.monotonic(), dict(delivery.state)
        if ended and time.monotonic() - progress > patience:
            return False
        if ended:
            time.sleep(min(wait, patience / 4))
        else:
            closed.wait(wait)


def _await_close(closed: threading.Event) -> None:
    for line in sys.stdin:
        if line.strip() == "close":
            break
    closed.set()


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except OSError:
        log.info(line)  # nobody listens any more


def main() -> None:
    """Follow the run whose journal lies in the folder given."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # meant for the run, which tells us in time
    if hasattr(os, "nice"):
        os.nice(10)  # training comes first
    folder = Path(sys.argv[1])
    handler = logging.StreamHandler()
    handler.setFormatter(Discreet("%(asctime)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    patience, system_metrics = map(float, sys.argv[2:])
    with FileLock(folder / "lock"):
        arrived = follow(folder, os.environ["MLFLOW_TRACKING_URI"], patience, system_metrics)
    sys.exit(0 if arrived else 1)


if __name__ == "__main__":
    main()
