"""The process that delivers journals while their runs train.

python -m src.runtime.tracker.mlflow_follower

A training run starts it (`mlflow_process`); nobody has to. It imports MLflow, waits for servers and
retries, and in a sweep exports the models of its jobs, none of which then costs a training step. It
reads an order a line:

    {"follow": FOLDER, "patience": SECONDS, "system_metrics": SECONDS}
    {"close": FOLDER}
    {"prepare": "models"}

and ends when there are no more: the run is done, or died. It then delivers what is left, waits
`patience` seconds at most for a store that makes no progress, and leaves the rest in the journal
for `src/sync.py`. The address of the store comes in `MLFLOW_TRACKING_URI`. It answers, a line each,
with words for the run's log, with samples of the machine every `system_metrics` seconds (0: never),
and with whether a journal that was closed has been delivered:

    {"folder": FOLDER, "say": TEXT}
    {"folder": FOLDER, "sample": RECORD}
    {"folder": FOLDER, "delivered": true}
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from filelock import FileLock

from src.runtime import garbage
from src.runtime.tracker.mlflow_delivery import Delivery, without_password
from src.runtime.tracker.system_metrics import samples

POLL_SECONDS = 2.0  # each time takes processor time that the training could have had
RETRY_SECONDS, MAX_RETRY_SECONDS = 0.5, 15.0  # between attempts at a store that is down

log = logging.getLogger(__name__)
_answering = threading.Lock()


class Discreet(logging.Formatter):
    """Writes no password of an address into the log: MLflow's errors name the address in full."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback if there is one."""
        return without_password(super().format(record))


class Following(threading.Thread):
    """Delivers one journal until its run has `closed` it.

    Args:
        folder: of the journal.
        patience: seconds to wait, once it is closed, for a store that makes no progress.
        system_metrics: seconds between two samples of the machine, or 0.
    """

    def __init__(self, folder: str, patience: float, system_metrics: float) -> None:
        super().__init__(name=folder)
        self.folder = Path(folder)
        self.patience = patience
        self.system_metrics = system_metrics
        self.closed = threading.Event()

    def run(self) -> None:
        """Log into the folder what goes wrong there, and answer whether everything arrived."""
        handler = logging.FileHandler(self.folder / "delivery.log")
        handler.setFormatter(Discreet("%(asctime)s %(name)s %(message)s"))
        handler.addFilter(lambda record: record.threadName == self.name)
        logging.getLogger().addHandler(handler)
        delivered = False
        try:
            with FileLock(self.folder / "lock"):
                delivered = self._deliver(os.environ["MLFLOW_TRACKING_URI"])
        finally:
            self._answer(delivered=delivered)
            logging.getLogger().removeHandler(handler)
            handler.close()

    def _deliver(self, uri: str) -> bool:
        delivery = Delivery(self.folder, uri, lambda text: self._answer(say=text))
        if self.system_metrics:
            threading.Thread(target=self._sample, args=(delivery,), daemon=True).start()
        wait, failing, progress, last = RETRY_SECONDS, False, time.monotonic(), None
        while True:
            ended = self.closed.is_set()  # asked first: what was written before is then delivered
            try:
                delivery.deliver()
                if ended:
                    delivery.finish()
                    return True
                if failing:
                    self._answer(say=f"MLflow at {without_password(uri)} answers again.")
                wait, failing = RETRY_SECONDS, False
            except Exception as error:
                log.info("Not delivered: %s", error, exc_info=not failing)
                if not failing:
                    reason = without_password(str(error)).splitlines()[0][:300]
                    self._answer(
                        say=f"MLflow at {without_password(uri)} does not take the records of this "
                        f"run ({reason}). Training goes on; they are kept in {self.folder} until "
                        "it does."
                    )
                wait, failing = min(2 * wait, MAX_RETRY_SECONDS), True
            if delivery.state != last or not ended:
                progress, last = time.monotonic(), dict(delivery.state)
            if ended and time.monotonic() - progress > self.patience:
                return False
            if ended:
                time.sleep(min(wait, self.patience / 4))
            else:
                self.closed.wait(wait if failing else POLL_SECONDS)

    def _sample(self, delivery: Delivery) -> None:
        for record in samples(delivery.description["started"], self.system_metrics, self.closed):
            self._answer(sample=record)

    def _answer(self, **answer: Any) -> None:
        line = json.dumps({"folder": self.name} | answer)
        try:
            with _answering:
                print(line, file=sys.__stdout__, flush=True)
        except OSError:
            log.info(line)  # nobody listens any more


def _import_meanwhile(*modules: str) -> None:
    # A daemon: who has nothing to deliver does not wait for it.
    threading.Thread(target=lambda: list(map(import_module, modules)), daemon=True).start()


def main() -> None:
    """Follow the journals that standard input names."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # meant for the run, which tells us in time
    garbage.put_off()
    sys.stdout = sys.stderr  # for what MLflow prints
    logging.getLogger().setLevel(logging.INFO)
    followed: dict[str, Following] = {}
    _import_meanwhile("mlflow")
    for line in sys.stdin:
        order = json.loads(line)
        if "prepare" in order:
            _import_meanwhile("src.runtime.tracker.mlflow_format", "mlflow.pytorch")
        elif folder := order.get("follow"):
            followed[folder] = Following(folder, order["patience"], order["system_metrics"])
            followed[folder].start()
        else:
            followed.pop(order["close"]).closed.set()
    for following in followed.values():
        following.closed.set()


if __name__ == "__main__":
    main()
