"""Bring the journal of a run to MLflow: now, later, or again, with the same result.

Why each record arrives exactly once, though answers may get lost: the journal fixes the time of
every metric, and MLflow keeps one of those that agree in key, step, time and value; parameters,
tags and files replace themselves; a run and a model are looked for by their key before they are
created. How far the journal was delivered stands in `state.json`: little is ever sent twice.
"""

import logging
import os
import re
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from src.runtime.tracker.journal import Record, read, read_json, write_json

KEY_TAG = "run.key"
JOURNAL = "journal.jsonl"
# MLflow takes 1,000 of these in a request, of which 100 parameters and 100 tags.
WEIGHTS, MAX_WEIGHT = {"metrics": 1, "params": 10, "tags": 10}, 1_000
DEFAULTS = {  # a server that does not answer costs seconds, and the next attempt is ours
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # of one file
}

log = logging.getLogger(__name__)


def without_password(uri: str) -> str:
    """Return an address, or a text with addresses in it, fit to be written down."""
    return re.sub(r"//[^/@\s]*@", "//", uri)


class Delivery:
    """Delivers one journal to one store.

    Args:
        folder: holds `run.json`, `journal.jsonl` and the files that records name.
        uri: of the store, credentials included; by default the one that the run was meant for,
            with the credentials of `MLFLOW_TRACKING_URI` if that is the same.
        say: called with what the user should know.
    """

    def __init__(
        self,
        folder: Path,
        uri: str | None = None,
        say: Callable[[str], object] = log.warning,
    ) -> None:
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        self.folder = folder
        self._say = say
        self.description: Record = read_json(folder / "run.json")
        meant, known = self.description["uri"], os.environ.get("MLFLOW_TRACKING_URI", "")
        self.uri: str = uri or (known if without_password(known) == meant else meant)
        self.state: Record = read_json(folder / "state.json")
        if self.state.get("uri") != without_password(self.uri):  # another store knows nothing yet
            self.state = {"uri": without_password(self.uri), "offset": 0, "refused": 0}
        self._client: Any = None
        self._params: dict[str, str] = {}

    @property
    def run_id(self) -> str | None:
        """MLflow's name for the run, once it has one."""
        return self.state.get("run_id")

    @property
    def complete(self) -> bool:
        """Whether MLflow has everything, the end of the run included."""
        journal = self.folder / JOURNAL
        size = journal.stat().st_size if journal.exists() else 0
        return bool(self.state.get("finished")) and self.state["offset"] == size

    def deliver(self) -> None:
        """Deliver what the journal holds and MLflow has not.

        Raises:
            Exception: whatever keeps MLflow from answering; nothing is lost, call again.
        """
        if self._client is None:
            self._open()
        for records, offset in self._portions():
            self._send(records)
            self._remember(offset=offset)

    def finish(self) -> None:
        """Tell MLflow how the run ended: as its last record says, else it was killed."""
        last: Record = {}
        times = [self.description["started"]]
        for last, _ in read(self.folder / JOURNAL):
            times.append(last.get("time", 0))
        self._client.set_terminated(self.run_id, last.get("status", "KILLED"), max(times))
        self._remember(finished=True)

    def _open(self) -> None:
        from mlflow import MlflowClient

        with self._creating():
            client = MlflowClient(self.uri)
            experiment_id = self._experiment(client)
            run_id = self.run_id or self._run(client, experiment_id, self.description)
        run = client.get_run(run_id)
        self._params = dict(run.data.params)
        if self.state.get("finished") or run.info.status != "RUNNING":
            client.update_run(run_id, status="RUNNING")  # it goes on
        self._remember(run_id=run_id, experiment_id=run.info.experiment_id, finished=False)
        self._client = client

    @contextmanager
    def _creating(self) -> Generator[None]:
        # Jobs of a sweep start together. Two that create the tables of one SQLite file, or the
        # parent of one sweep, would get in each other's way.
        if self.uri.startswith("sqlite"):
            path = Path(self.uri.partition("///")[2]).resolve()
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock", timeout=120):
                yield
        else:
            yield

    def _experiment(self, client: Any) -> str:
        name = self.description["experiment"]
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            from mlflow.exceptions import MlflowException

            try:
                return client.create_experiment(name, self.description.get("artifact_location"))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                experiment = client.get_experiment_by_name(name)
        return experiment.experiment_id

    def _run(self, client: Any, experiment_id: str, description: Record) -> str:
        tags = {KEY_TAG: description["key"], **description.get("tags", {})}
        if parent := description.get("parent"):
            with FileLock(Path(parent) / "create.lock", timeout=120):
                about = read_json(Path(parent) / "run.json")
                tags["mlflow.parentRunId"] = self._run(client, experiment_id, about)
        found = self._find(client, experiment_id, description["key"])
        if not found:
            client.create_run(experiment_id, description["started"], tags, description["name"])
            # An attempt whose answer was lost may have arrived all the same: one run is enough.
            found = self._find(client, experiment_id, description["key"])
            for surplus in found[1:]:
                client.delete_run(surplus)
        return found[0]

    @staticmethod
    def _find(client: Any, experiment_id: str, key: str) -> list[str]:
        runs = client.search_runs([experiment_id], f"tags.`{KEY_TAG}` = '{key}'")
        return sorted(run.info.run_id for run in runs)

    def _portions(self) -> Iterator[tuple[list[Record], int]]:
        """Yield records that fit into one request, and the offset behind them."""
        portion: list[Record] = []
        size, offset = 0, self.state["offset"]
        for record, end in read(self.folder / JOURNAL, offset):
            more = sum(weight * len(record.get(kind, ())) for kind, weight in WEIGHTS.items())
            if portion and size + more > MAX_WEIGHT:
                yield portion, offset
                portion, size = [], 0
            portion.append(record)
            size, offset = size + more, end
        if portion:
            yield portion, offset

    def _send(self, records: list[Record]) -> None:
        from mlflow.exceptions import MlflowException

        try:
            for record in records:
                self._send_other(record)
            self._send_batch(records)
        except MlflowException as error:
            if error.error_code not in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
                raise
            if len(records) > 1:  # one of them is not to MLflow's taste: the others shall arrive
                for record in records:
                    self._send([record])
                return
            log.warning("MLflow refuses %s: %s", str(records[0])[:500], error)
            self._remember(refused=self.state["refused"] + 1)

    def _send_batch(self, records: list[Record]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        metrics = [
            Metric(key, float(value), record["time"], record["step"])
            for record in records
            for key, value in record.get("metrics", {}).items()
        ]
        params = {
            key: value for record in records for key, value in record.get("params", {}).items()
        }
        tags = {key: value for record in records for key, value in record.get("tags", {}).items()}
        # MLflow's parameters never change. A run that goes on may have other ones.
        tags |= {
            f"changed.{key}": value
            for key, value in params.items()
            if self._params.get(key, value) != value
        }
        params = {key: value for key, value in params.items() if key not in self._params}
        if metrics or params or tags:
            self._client.log_batch(
                self.run_id,
                metrics=metrics,
                params=[Param(key, value) for key, value in params.items()],
                tags=[RunTag(key, value) for key, value in tags.items()],
            )
            self._params |= params

    def _send_other(self, record: Record) -> None:
        if "datasets" in record:
            self._client.log_inputs(
                self.run_id, [_dataset(fields) for fields in record["datasets"]]
            )
        path = self.folder / record.get("file", record.get("model", ""))
        if path == self.folder or not path.exists():
            return  # delivered before, and only the answer was lost
        if "model" in record:
            self._send_model(record, path)
        else:
            self._client.log_artifact(self.run_id, str(path), record["to"] or None)
        shutil.rmtree(path.parent)

    def _send_model(self, record: Record, checkpoint: Path) -> None:
        from mlflow.entities import LoggedModelOutput

        path = checkpoint.with_name("model")
        try:
            if not path.exists():
                from src.runtime.tracker import mlflow_format  # torch

                mlflow_format.save_checkpoint(checkpoint)
        except OSError:  # a full disk, say: it is tried again
            raise
        except Exception as error:
            reason = str(error).partition("\n")[0]
            self._say(f"The best checkpoint is not logged as a model: {reason}")
            return
        experiments = [self.state["experiment_id"]]
        found = self._client.search_logged_models(experiments, f"tags.key = '{record['key']}'")
        model = (found and found[0]) or self._client.create_logged_model(
            experiments[0], "best", self.run_id, {"key": record["key"]}, self._params, "checkpoint"
        )
        about = path / "MLmodel"  # saved before the model had a name
        fields = yaml.safe_load(about.read_text(encoding="utf-8"))
        fields |= {"model_id": model.model_id, "run_id": self.run_id}
        fields["artifact_path"] = model.artifact_location
        about.write_text(yaml.safe_dump(fields), encoding="utf-8")
        self._client.log_model_artifacts(model.model_id, str(path))
        outputs = self._client.get_run(self.run_id).outputs
        if model.model_id not in [output.model_id for output in outputs.model_outputs]:
            output = LoggedModelOutput(model.model_id, record["step"])
            self._client.log_outputs(self.run_id, [output])
        self._client.finalize_logged_model(model.model_id, "READY")

    def _remember(self, **changes: Any) -> None:
        self.state |= changes
        write_json(self.folder / "state.json", self.state)


def _dataset(fields: Record) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        fields["name"], fields["digest"], "local", fields["source"], profile=fields["profile"]
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", fields["context"])])
