"""Bring one run folder to MLflow: what it has not received, however often this is repeated.

A run writes `mlflow.json` (its store and names) and `metrics.jsonl` (metrics, parameters, tags),
and needs neither MLflow nor a network for it. How far they were sent is in `mlflow_state.json`.
Nothing arrives twice: of metrics that agree in name, step, time and value MLflow keeps one, and a
run is looked for by its key before it is created.
"""

import json
import os
import posixpath
import re
import secrets
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

from src.runtime.project import read_json, write_json
from src.runtime.run_folder import RECORD, read_run

DESCRIPTION, STATE, METRICS = "mlflow.json", "mlflow_state.json", "metrics.jsonl"
REJECTED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")  # error codes: sending it again is no use
BATCH = 250  # rows in a request; with more than MLflow's 1,000 metrics it is divided
LONGEST_NAME = 240  # characters; MLflow takes 250
SQLITE = "sqlite:///"


class RunUploader:
    """Upload one run to MLflow.

    Args:
        run_dir: the run folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.about: dict[str, Any] = {}  # mlflow.json, once MLflow has the run
        self.state = read_json(run_dir / STATE)
        self.record: dict[str, Any] = {}
        self.mlflow: Any = None
        self.client: Any = None

    def upload_new_data(self) -> None:
        """Upload what is new, and the final status once the run has ended.

        What keeps MLflow from answering is noted as `error` in the state. Nothing is lost: call
        again, until `is_fully_uploaded`.
        """
        # Read first: what is written from now on is sent the next time.
        current = modification_times(self.run_dir)
        self.record = read_run(self.run_dir) or {"status": "killed"}
        status = self.record["status"].upper()
        is_running = status == "RUNNING"
        try:
            self._open()
            self._send_rows()
            if not is_running:
                ended = iso_time_to_milliseconds(self.record.get("ended"))
                self.client.set_terminated(self.state["run_id"], status, ended)
            self._send_files()
        except Exception as error:  # any: the store, its driver, the network, the disk
            self.about = {}  # look for the store and the run again
            self._save(error=short_error_text(error))
        else:
            self._save(error=None, delivered=None if is_running else current)

    def _open(self) -> None:
        """Find or create the run."""
        about = read_json(self.run_dir / DESCRIPTION)
        if about == self.about:
            return
        import mlflow  # takes seconds

        self.mlflow = mlflow
        uri, name = about["tracking_uri"], about["experiment_name"]
        artifacts = create_database_and_artifact_uri(mlflow, uri)
        self.client = client = mlflow.MlflowClient(with_credentials(uri))
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name, artifacts)
        commit = (self.record.get("environment") or {}).get("git_commit")
        tags = {"mlflow.source.git.commit": commit or ""}
        sweep_dir = self.run_dir.parent
        if sweep_dir.parent.name == "multiruns":
            sweep_key = uuid.uuid5(uuid.NAMESPACE_URL, str(sweep_dir)).hex
            parent = self._find_or_create(experiment, sweep_key, sweep_dir.name, {})
            self.client.set_terminated(parent)
            tags["mlflow.parentRunId"] = parent
        run_id = self._find_or_create(experiment, about["key"], about["run_name"], tags)
        if run_id != self.state.get("run_id"):  # in another store, or the former was deleted
            self.state |= {"offset": 0, "names": {}, "files": {}, "rejected": {}}
        self._save(uri=uri, experiment_id=experiment, run_id=run_id)
        self.about = about

    def _find_or_create(self, experiment: str, key: str, name: str, tags: dict[str, str]) -> str:
        """Return the id of the run with a key."""
        if found := self.client.search_runs([experiment], f"tags.run_key = '{key}'"):
            first, *surplus = sorted(run.info.run_id for run in found)
            for run_id in surplus:  # the answer to a request was late, and the request repeated
                self.client.delete_run(run_id)
            return first
        started = iso_time_to_milliseconds(self.record.get("started"))
        self.client.create_run(experiment, started, {"run_key": key} | tags, name)
        return self._find_or_create(experiment, key, name, tags)

    def _send_rows(self) -> None:
        rows = read_rows_with_offsets(self.run_dir / METRICS, self.state["offset"])
        while batch := list(islice(rows, BATCH)):
            self._send([entity for row, _ in batch for entity in self._entities(row)])
            self._save(offset=batch[-1][1])

    def _entities(self, row: dict[str, Any]) -> list[tuple[str, Any]]:
        """Return what a row holds as MLflow's entities, each with the argument that takes it."""
        kinds, found = self.mlflow.entities, []
        for name, value in row.get("metrics", {}).items():
            metric = kinds.Metric(self._name(name), value, row["time"], row["step"])
            found.append(("metrics", metric))
        for argument, kind in (("params", kinds.Param), ("tags", kinds.RunTag)):
            for name, value in row.get(argument, {}).items():
                found.append((argument, kind(self._name(name), value)))
        return found

    def _send(self, entities: list[tuple[str, Any]]) -> None:
        """Send metrics, parameters and tags; what MLflow rejects is noted, the others arrive."""
        run_id = self.state["run_id"]
        by_argument = defaultdict(list)
        for argument, entity in entities:
            by_argument[argument].append(entity)
        try:
            self.client.log_batch(run_id, **by_argument)
        except self.mlflow.MlflowException as error:
            is_deleted = self.client.get_run(run_id).info.lifecycle_stage == "deleted"
            if is_deleted or error.error_code not in REJECTED:
                raise
            if len(entities) > 1:
                middle = len(entities) // 2
                self._send(entities[:middle])
                self._send(entities[middle:])
            elif "Changing param" not in str(error):  # a resumed run keeps those of its start
                self.state["rejected"][entities[0][1].key] = short_error_text(error)

    def _name(self, name: str) -> str:
        """Return a name that MLflow takes; different names stay different."""
        names = self.state["names"]
        if name not in names:
            clean = re.sub(r"[^\w./ :-]", "_", name)
            fixed = posixpath.normpath("/" + clean).lstrip("/")[:LONGEST_NAME] or "unnamed"
            while fixed in names.values():
                fixed += "_"
            names[name] = fixed
        return names[name]

    def _send_files(self) -> None:
        """Send the configuration, pictures and artifacts, each when it changes.

        So a file that was half written is sent again.
        """
        patterns = ("config.yaml", "images/*.png", "artifacts/**/*")
        for path in chain.from_iterable(map(self.run_dir.glob, patterns)):
            name = path.relative_to(self.run_dir).as_posix()
            changed = path.stat().st_mtime
            if path.is_file() and self.state["files"].get(name) != changed:
                folder = name.removeprefix("artifacts/").rpartition("/")[0]
                self.client.log_artifact(self.state["run_id"], str(path), folder or None)
                self._save(files=self.state["files"] | {name: changed})

    def _save(self, **changes: Any) -> None:
        if not changes.items() <= self.state.items():
            self.state |= changes
            write_json(self.run_dir / STATE, self.state)


def is_fully_uploaded(run_dir: Path) -> bool:
    """Return whether a run has ended and all of its data has been uploaded."""
    return read_json(run_dir / STATE).get("delivered") == modification_times(run_dir)


def modification_times(run_dir: Path) -> list[int]:
    """List the modification times in ns of the files that an active run changes."""
    paths = [run_dir / name for name in (DESCRIPTION, RECORD, METRICS)]
    return [path.stat().st_mtime_ns for path in paths if path.exists()]


def read_rows_with_offsets(path: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each row of `metrics.jsonl` from a byte offset, with the offset after it.

    A line that is still being written is left for the next time, a damaged one is an empty row.
    """
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                yield json.loads(line), offset
            except ValueError:
                yield {}, offset


def storable_uri(uri: str) -> str:
    """Return the tracking URI with an absolute SQLite path and without credentials."""
    if uri.startswith(SQLITE):
        return SQLITE + str(Path(uri.removeprefix(SQLITE)).resolve())
    return without_credentials(uri)


def create_database_and_artifact_uri(mlflow: Any, uri: str) -> str | None:
    """Create a SQLite store if missing; return its artifact URI (None if not SQLite)."""
    if not uri.startswith(SQLITE):
        return None
    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        mlflow.MlflowClient(f"{SQLITE}{new}")  # seconds; what is created in part is of no use
        if not path.exists():
            new.rename(path)
    return path.with_name("artifacts").as_uri()


def with_credentials(uri: str) -> str:
    """Return MLFLOW_TRACKING_URI if it is this URI with credentials, else the URI."""
    known = os.environ.get("MLFLOW_TRACKING_URI", "")
    return known if without_credentials(known) == uri else uri


def without_credentials(text: str) -> str:
    """Return the text with credentials removed from its URIs."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def short_error_text(error: Exception) -> str:
    """Return the first 120 characters of an error, without credentials."""
    return without_credentials(repr(error))[:120]


def iso_time_to_milliseconds(moment: str | None) -> int | None:
    """Return an ISO 8601 time in milliseconds since 1970, or None if there is no time."""
    return int(datetime.fromisoformat(moment).timestamp() * 1000) if moment else None
