"""Bring one run folder to MLflow: what it has not received, however often this is repeated.

A run writes `mlflow.json` (store, parameters, tags) and `metrics.jsonl`, and needs neither MLflow
nor a network for it. How far they were sent is in `mlflow_state.json`. Nothing arrives twice: of
metrics that agree in name, step, time and value MLflow keeps one, and a run is looked for by its
key before it is created.
"""

import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from src.runtime.project import read_json, write_json
from src.runtime.run_folder import RECORD, read_run

DESCRIPTION, STATE, METRICS = "mlflow.json", "mlflow_state.json", "metrics.jsonl"
STATUSES = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
REJECTED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")  # error codes: sending it again is no use
BATCH = 500  # metrics in a request; MLflow takes 1,000
LONGEST_NAME = 250


class Upload:
    """The upload of one run.

    Args:
        run_dir: the run folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.about: dict[str, Any] = {}  # mlflow.json, once MLflow has it
        self.state: dict[str, Any] = {}
        self.record: dict[str, Any] = {}
        self.mlflow: Any = None
        self.client: Any = None

    def send(self) -> bool:
        """Send what MLflow has not received; return whether the run has ended and all arrived.

        Raises:
            Exception: whatever keeps MLflow from answering. Nothing is lost: call again.
        """
        # Read first: what is written from now on is sent the next time.
        current = fingerprint(self.run_dir)
        self.record = read_run(self.run_dir) or {"status": "killed"}
        is_running = self.record["status"] == "running"
        try:
            self._open()
            self._send_rows()
            if not is_running:
                ended = milliseconds(self.record.get("ended"))
                status = STATUSES[self.record["status"]]
                self.client.set_terminated(self.state["run_id"], status, ended)
            self._send_files(is_running)
        except Exception as error:
            self.about = {}  # look for the store and the run again
            self._save(error=without_password(str(error) or repr(error)).partition("\n")[0][:120])
            raise
        self._save(error=None, delivered=None if is_running else current)
        return not is_running

    def _open(self) -> None:
        """Find or create the run, and send its parameters and tags."""
        about = read_json(self.run_dir / DESCRIPTION)
        if about == self.about:
            return
        import mlflow  # takes seconds

        uri, name = about["tracking_uri"], about["experiment_name"]
        if uri.startswith("sqlite:///"):
            create_database(mlflow, Path(uri.removeprefix("sqlite:///")))
        client = mlflow.MlflowClient(with_password(uri))
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else None
        if experiment is None:
            experiment = client.create_experiment(name, about["artifact_location"])
        self.mlflow = mlflow
        run_id = self._find_or_create(client, experiment, about["key"], about["run_name"])
        found = {"uri": uri, "experiment_id": experiment, "run_id": run_id}
        former = read_json(self.run_dir / STATE)  # of another store or run, where that was deleted
        is_same = found.items() <= former.items()
        self.state = former if is_same else {"offset": 0, "names": {}, "files": {}, "rejected": {}}
        self._save(**found)
        self.client = client
        if self.record["status"] == "running":
            client.update_run(run_id, "RUNNING")
        for kind in ("params", "tags"):
            self._send(self._entities({kind: about[kind]}))
        self.about = about

    def _find_or_create(self, client: Any, experiment: str, key: str, name: str) -> str:
        """Return the id of the run with a key; a job of a sweep is nested in the sweep's run."""
        if found := client.search_runs([experiment], f"tags.run_key = '{key}'"):
            first, *surplus = sorted(run.info.run_id for run in found)
            for run_id in surplus:  # the answer to a request was late, and the request repeated
                client.delete_run(run_id)
            return first
        started = milliseconds(self.record.get("started"))
        environment = self.record.get("environment") or {}
        tags = {
            "run_key": key,
            "mlflow.source.name": environment.get("command"),
            "mlflow.source.git.commit": environment.get("git_commit"),
        }
        sweep_dir = self.run_dir.parent
        if sweep_dir.parent.name == "multiruns" and name != sweep_dir.name:
            sweep = {"key": secrets.token_hex(8)} | read_json(sweep_dir / STATE)
            write_json(sweep_dir / STATE, sweep)
            parent = self._find_or_create(client, experiment, sweep["key"], sweep_dir.name)
            client.set_terminated(parent)
            write_json(sweep_dir / STATE, sweep | {"run_id": parent})
            tags["mlflow.parentRunId"] = parent
        given = {tag: value for tag, value in tags.items() if value}
        client.create_run(experiment, started, given, name)
        return self._find_or_create(client, experiment, key, name)

    def _send_rows(self) -> None:
        entities: list[Any] = []
        offset = self.state["offset"]
        for row, end in read_rows(self.run_dir / METRICS, offset):
            entities += self._entities(row)
            offset = end
            if len(entities) >= BATCH:
                self._send(entities)
                self._save(offset=offset)
                entities = []
        self._send(entities)
        self._save(offset=offset)

    def _entities(self, row: dict[str, Any]) -> list[Any]:
        """Return what a row holds as MLflow's metrics, parameters and tags."""
        kinds, step = self.mlflow.entities, row.get("step") or 0
        metrics, params, tags = (row.get(k, {}).items() for k in ("metrics", "params", "tags"))
        return [
            *(kinds.Metric(self._name(k), v, row["time"], step) for k, v in metrics),
            *(kinds.Param(self._name(k), str(v)) for k, v in params),
            *(kinds.RunTag(self._name(k), str(v)) for k, v in tags),
        ]

    def _send(self, entities: list[Any]) -> None:
        """Send metrics, parameters and tags; what MLflow rejects is noted, the others arrive."""
        if not entities:
            return
        kinds = self.mlflow.entities
        order = (kinds.Metric, kinds.Param, kinds.RunTag)
        by_kind = ([e for e in entities if isinstance(e, kind)] for kind in order)
        try:
            self.client.log_batch(self.state["run_id"], *by_kind)
        except self.mlflow.MlflowException as error:
            if error.error_code not in REJECTED:
                raise
            if self.client.get_run(self.state["run_id"]).info.lifecycle_stage == "deleted":
                raise
            first, middle = entities[0], len(entities) // 2
            if middle:
                self._send(entities[:middle])
                self._send(entities[middle:])
            elif isinstance(first, kinds.Param):  # a resume changed it: MLflow changes none
                self._send([kinds.RunTag(f"changed.{first.key}", first.value)])
            else:
                reason = without_password(str(error)).partition("\n")[0][:120]
                self.state["rejected"][first.key] = reason

    def _name(self, name: str) -> str:
        """Return a name that MLflow takes; different names stay different."""
        names = self.state["names"]
        if name not in names:
            parts = re.sub(r"[^\w./ :-]", "_", name).split("/")
            fixed = "/".join(part for part in parts if part.strip("."))[:LONGEST_NAME]
            fixed = fixed.rstrip("/") or "unnamed"
            taken = set(names.values())
            others = (f"{fixed[: LONGEST_NAME - 6]}_{n}" for n in range(2, len(taken) + 3))
            names[name] = next(option for option in (fixed, *others) if option not in taken)
        return names[name]

    def _send_files(self, is_running: bool) -> None:
        """Send the configuration, pictures, artifacts and best checkpoint, each when it changes."""
        patterns = ["config.yaml", "images/*.png", "artifacts/**/*"]
        best = self.record.get("best_checkpoint")
        if best and not is_running and self.about["log_model"]:
            patterns.append(best)
        for path in (path for pattern in patterns for path in sorted(self.run_dir.glob(pattern))):
            with suppress(FileNotFoundError):  # removed meanwhile
                status, name = path.stat(), path.relative_to(self.run_dir).as_posix()
                stamp = [status.st_size, status.st_mtime_ns]
                is_fresh = is_running and time.time() - status.st_mtime < 2  # half written, maybe
                if path.is_file() and not is_fresh and self.state["files"].get(name) != stamp:
                    folder = name.removeprefix("artifacts/").rpartition("/")[0]
                    self.client.log_artifact(self.state["run_id"], str(path), folder or None)
                    self._save(files=self.state["files"] | {name: stamp})

    def _save(self, **changes: Any) -> None:
        if not changes.items() <= self.state.items():
            self.state |= changes
            write_json(self.run_dir / STATE, self.state)


def is_delivered(run_dir: Path) -> bool:
    """Return whether MLflow has received all that the folder of an ended run holds."""
    return read_json(run_dir / STATE).get("delivered") == fingerprint(run_dir)


def fingerprint(run_dir: Path) -> list[int]:
    """Return sizes and times of the files that change when a run goes on."""
    paths = [run_dir / name for name in (DESCRIPTION, RECORD, METRICS)]
    statuses = [path.stat() for path in paths if path.exists()]
    return [number for status in statuses for number in (status.st_size, status.st_mtime_ns)]


def read_rows(path: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the rows of a `metrics.jsonl` from a byte offset on, each with the offset behind it.

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


def store_of(uri: str, artifact_location: str | None = None) -> dict[str, str | None]:
    """Return how `mlflow.json` describes a store: without a password, with absolute paths."""
    if uri.startswith("sqlite:///"):
        path = Path(uri.removeprefix("sqlite:///")).resolve()
        uri = f"sqlite:///{path}"
        artifact_location = artifact_location or str(path.with_name("artifacts"))
    if uri.startswith("http"):
        artifact_location = None  # a server has a place of its own
    elif artifact_location and "://" not in artifact_location:
        artifact_location = Path(artifact_location).resolve().as_uri()
    return {"tracking_uri": without_password(uri), "artifact_location": artifact_location}


def create_database(mlflow: Any, path: Path) -> None:
    """Create an SQLite database with MLflow's tables; one that was created in part is of no use."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    mlflow.MlflowClient(f"sqlite:///{new}")  # seconds, in which this process may be killed
    if not path.exists():
        new.rename(path)


def with_password(uri: str) -> str:
    """Return the address of a store with the password that `MLFLOW_TRACKING_URI` has for it."""
    known = os.environ.get("MLFLOW_TRACKING_URI", "")
    return known if without_password(known) == uri else uri


def without_password(text: str) -> str:
    """Return a text whose addresses hold no password."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def milliseconds(moment: str | None) -> int | None:
    """Return an ISO 8601 time as milliseconds since 1970, as MLflow has it."""
    return int(datetime.fromisoformat(moment).timestamp() * 1000) if moment else None
