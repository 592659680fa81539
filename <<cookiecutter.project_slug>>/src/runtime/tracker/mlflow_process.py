"""The process that delivers to MLflow, `mlflow_follower`, from this side: start, tell, await it."""

import atexit
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from src.runtime.identity import PROJECT_ROOT
from src.runtime.tracker.journal import Record

FOLLOWER = "src.runtime.tracker.mlflow_follower"

log = logging.getLogger(__name__)


class Followed:
    """A journal that `process` delivers; `on_sample` takes what is measured over there."""

    def __init__(
        self, process: "subprocess.Popen[str]", on_sample: Callable[[Record], object]
    ) -> None:
        self.process = process
        self.on_sample = on_sample
        self.is_closed = False
        self.ended = threading.Event()
        self.delivered = False


class MLflowProcess:
    """Delivers the journals of this process to one store.

    It starts with the first journal, or ahead of it, and ends when the last one is closed, unless
    it is kept for the next job of a sweep: importing MLflow takes longer than a short job.

    Args:
        uri: of the store, credentials included.
    """

    _by_uri: ClassVar[dict[str, "MLflowProcess"]] = {}

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.is_kept = False
        self._process: subprocess.Popen[str] | None = None
        self._followed: dict[Path, Followed] = {}

    @classmethod
    def of(cls, uri: str) -> "MLflowProcess":
        """Return the one for a store."""
        return cls._by_uri.setdefault(uri, cls(uri))

    def start_ahead(self, folder: Path, models: bool) -> None:
        """Start before there is a journal in `folder`: while a run imports torch.

        With `models`, a process that is kept imports what exports them, too.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._running(folder)
        if models and self.is_kept:
            self._tell({"prepare": "models"})

    def follows(self, folder: Path) -> bool:
        """Say whether a journal is being delivered."""
        return folder in self._followed and not self._followed[folder].ended.is_set()

    def follow(
        self,
        folder: Path,
        patience: float,
        system_metrics: float | None,
        on_sample: Callable[[Record], object],
    ) -> None:
        """Deliver the journal in a folder from now on."""
        if folder in self._followed:
            self._followed[folder].ended.wait()
        process = self._running(folder)
        self._followed[folder] = Followed(process, on_sample)
        self._tell(
            {"follow": str(folder), "patience": patience, "system_metrics": system_metrics or 0}
        )

    def close(self, folder: Path) -> None:
        """Say that a journal is complete."""
        if followed := self._followed.get(folder):
            followed.is_closed = True
            if followed.process is self._process:  # another one knows nothing of it
                self._tell({"close": str(folder)})

    def wait(self, stay: bool = False) -> list[Path]:
        """Wait for the journals that are closed; return the folders of those left undelivered.

        With `stay`, it ends with this process at the latest, which may have a further journal.
        """
        closed = {f: followed for f, followed in self._followed.items() if followed.is_closed}
        try:
            for folder, followed in closed.items():
                followed.ended.wait()
                del self._followed[folder]
            if not self._followed:
                if stay:
                    # Not when it starts: what a sweep has to say at its exit comes first.
                    atexit.register(self._end)
                else:
                    self._end()
        except BaseException:  # a second Ctrl-C, say: do not wait
            if self._process:
                self._process.kill()
            raise
        return [folder for folder, followed in closed.items() if not followed.delivered]

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with suppress(OSError):  # it died
                process.stdin.close()
            process.wait()

    def _tell(self, order: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(OSError):  # it died
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()

    def _running(self, folder: Path) -> "subprocess.Popen[str]":
        if self._process is None or self._process.poll() is not None:
            self._process = self._started(folder)
        return self._process

    def _started(self, folder: Path) -> "subprocess.Popen[str]":
        with (folder / "delivery.log").open("a") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", FOLLOWER],
                cwd=PROJECT_ROOT,
                # One thread, for it exports models: the others are the training's.
                env=os.environ | {"MLFLOW_TRACKING_URI": self.uri, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                process_group=0,  # Ctrl-C is for us; it ends when we say so, or are gone
            )
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        return process

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._hear(**json.loads(line))
        for followed in list(self._followed.values()):
            if followed.process is process:  # it died, and what it followed stays where it is
                followed.ended.set()

    def _hear(
        self,
        folder: str,
        say: str | None = None,
        sample: Record | None = None,
        delivered: bool | None = None,
    ) -> None:
        followed = self._followed.get(Path(folder))
        if say:
            log.warning(say)
        if sample and followed and not followed.is_closed:
            followed.on_sample(sample)
        if delivered is not None and followed:
            followed.delivered = delivered
            followed.ended.set()
