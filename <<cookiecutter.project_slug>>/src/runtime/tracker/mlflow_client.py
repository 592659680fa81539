"""The logging methods of `mlflow.MlflowClient`, through a run's journal."""

import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from src.runtime.tracker.journal import Record

log = logging.getLogger(__name__)


class JournalClient:
    """Takes MLflow's calls for one run, whatever `run_id` they name, and does not raise for MLflow.

    A method that is not here is MLflow's own: it needs the store, and raises if that is down.

    Args:
        folder: where the journal lies; files wait in it for their delivery.
        uri: of the store.
        record: writes a record to the journal.
    """

    def __init__(self, folder: Path, uri: str, record: Callable[[Record], None]) -> None:
        self._folder = folder
        self._uri = uri
        self._record = record

    def __getattr__(self, name: str) -> Any:
        """Return MLflow's own method."""
        from mlflow import MlflowClient

        return getattr(MlflowClient(self._uri), name)

    def log_metric(
        self,
        run_id: str | None,
        key: str,
        value: float,
        timestamp: int | None = None,
        step: int | None = None,
    ) -> None:
        """Log one metric."""
        moment = timestamp or int(time.time() * 1000)
        self._record({"metrics": {key: float(value)}, "step": step or 0, "time": moment})

    def log_param(self, run_id: str | None, key: str, value: Any) -> None:
        """Log one parameter."""
        self._record({"params": {key: str(value)}})

    def set_tag(self, run_id: str | None, key: str, value: Any) -> None:
        """Set one tag."""
        self._record({"tags": {key: str(value)}})

    def log_batch(
        self,
        run_id: str | None,
        metrics: Sequence[Any] = (),
        params: Sequence[Any] = (),
        tags: Sequence[Any] = (),
        synchronous: bool | None = None,
    ) -> None:
        """Log MLflow's `Metric`, `Param` and `RunTag` objects."""
        for metric in metrics:
            self.log_metric(run_id, metric.key, metric.value, metric.timestamp, metric.step)
        for param in params:
            self.log_param(run_id, param.key, param.value)
        for tag in tags:
            self.set_tag(run_id, tag.key, tag.value)

    def log_artifact(
        self, run_id: str | None, local_path: str | Path, artifact_path: str | None = None
    ) -> None:
        """Log a copy of a file, or of a folder, under `artifact_path`."""
        source = Path(local_path)
        if not source.exists():
            raise FileNotFoundError(f"log_artifact: there is no {source}")
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        self._write(artifact_path or "", source.name, lambda path: copy(source, path))

    def log_artifacts(
        self, run_id: str | None, local_dir: str | Path, artifact_path: str | None = None
    ) -> None:
        """Log copies of what lies in a folder, under `artifact_path`."""
        for path in sorted(Path(local_dir).iterdir()):
            self.log_artifact(run_id, path, artifact_path)

    def log_text(self, run_id: str | None, text: str, artifact_file: str) -> None:
        """Log a text as a file."""
        self._write_file(artifact_file, lambda path: path.write_text(text, encoding="utf-8"))

    def log_dict(self, run_id: str | None, dictionary: Any, artifact_file: str) -> None:
        """Log plain data as a JSON file."""
        self.log_text(run_id, json.dumps(dictionary, indent=2, default=str), artifact_file)

    def log_figure(self, run_id: str | None, figure: Any, artifact_file: str, **save: Any) -> None:
        """Log a matplotlib figure."""
        self._write_file(artifact_file, lambda path: figure.savefig(path, **save))

    def log_image(
        self,
        run_id: str | None,
        image: Any,
        artifact_file: str | None = None,
        key: str | None = None,
        step: int | None = None,
        timestamp: int | None = None,
        synchronous: bool | None = None,
    ) -> None:
        """Log a PIL image: as a file, or with `key` and `step` for the page's image charts."""
        if artifact_file:
            self._write_file(artifact_file, image.save)
            return
        assert key, "either artifact_file or key is needed"
        # The names that MLflow 3 gives to images of a series, by which its page finds them.
        moment = timestamp or int(time.time() * 1000)
        name = f"{key.replace('/', '~')}+step+{step or 0}+timestamp+{moment}+{uuid.uuid4()}"
        small = image.copy()
        small.thumbnail((256, 256))
        # Each as quickly as it can be: training waits for them.
        self._write_file(f"images/{name}.png", partial(image.save, compress_level=1))
        self._write_file(f"images/{name}+compressed.webp", partial(small.save, method=0))
        self.set_tag(run_id, "mlflow.loggedImages", "True")

    def _write_file(self, artifact_file: str, write: Callable[[Path], object]) -> None:
        file = PurePosixPath(artifact_file)
        self._write("" if file.parent == PurePosixPath() else str(file.parent), file.name, write)

    def _write(self, to: str, name: str, write: Callable[[Path], object]) -> None:
        path = self._folder / "files" / uuid.uuid4().hex[:12] / name
        try:
            path.parent.mkdir(parents=True)
            write(path)
        except OSError as error:  # the disk is full, say: no reason to end a run
            log.warning("%s is not logged: %s", name, error)
            return
        self._record({"file": path.relative_to(self._folder).as_posix(), "to": to})
