"""MLflow: what a run leaves in its database, read back with MLflow's own client."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from src.runtime.identity import PROJECT_ROOT
from src.runtime.tracker.journal import Journal, read
from src.train import train
from tests.conftest import SMALL, Compose

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

warnings.filterwarnings("ignore", module="mlflow")
CANARY = "canary-4f1c9a"
MLFLOW = (*SMALL, "common/logger@logger=mlflow")


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_the_journal_survives_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    script = f"""
import resource
from pathlib import Path
from src.runtime.tracker.journal import Journal
journal = Journal(Path({str(path)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
errors = [journal.append({{"n": n, "text": "x" * 20}}) for n in range(10)]
assert errors[0] is None and errors[-1] is not None
assert Path({str(path)!r}).read_bytes().endswith(b"}}\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert journal.append({{"n": 10}}) is None
"""
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT_ROOT, check=True)
    assert [record["n"] for record, _ in read(path)] == list(range(11))


def test_the_journal_goes_on_behind_a_torn_record(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"n": 0}\n{"n":')
    Journal(path).append({"n": 1})
    assert [record["n"] for record, _ in read(path)] == [0, 1]


def test_a_run_is_found_in_mlflow_as_it_was(
    composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", CANARY)
    secret = ("+token='${oc.env:CANARY}'", "tags=[blue]")
    train(composed(*MLFLOW, *secret, "logger.mlflow.log_model=false"))

    client, run = the_run(tmp_path)
    assert run.info.status == "FINISHED"
    assert run.data.params["data.batch_size"] == "64"
    assert run.data.params["token"] == "${oc.env:CANARY}"
    assert run.data.params["params/trainable"] == run.data.params["params/total"]
    assert run.data.params["device"] == "cpu"
    assert run.data.tags["blue"] == "true"
    wanted = {"test/acc", "lr-Adam", "speed/epoch_seconds", "speed/samples_per_second"}
    assert wanted <= run.data.metrics.keys()

    files = [file.path for file in client.list_artifacts(run.info.run_id)]
    images = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    assert "config.yaml" in files
    for name in ("val~predictions", "test~confusion_matrix", "test~worst_mistakes"):
        assert any(name in image for image in images), images
    assert run.inputs is not None
    assert {(x.dataset.name, x.tags[0].value) for x in run.inputs.dataset_inputs} == {
        ("MNIST", stage) for stage in ("train", "val", "test")
    }
    assert not any((tmp_path / "mlflow" / "files").iterdir()), (
        "what was delivered is kept no longer"
    )
    with_secret = [path for path in tmp_path.rglob("*") if path.is_file() and holds_canary(path)]
    assert not with_secret


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_mlflow_and_its_model_is_kept(
    composed: Compose, tmp_path: Path
) -> None:
    train(composed(*MLFLOW))
    last = f"ckpt_path={tmp_path}/checkpoints/last.ckpt"
    resumed = ("trainer.max_epochs=2", "logger.mlflow.log_model=false", "test=false", last)
    train(composed(*MLFLOW, *resumed))

    client, run = the_run(tmp_path)
    assert run.info.status == "FINISHED"
    assert run.data.tags["changed.trainer.max_epochs"] == "2"
    history = client.get_metric_history(run.info.run_id, "val/acc")
    assert [metric.step for metric in history] == [3, 7]
    assert run.outputs is not None
    (model,) = (client.get_logged_model(out.model_id) for out in run.outputs.model_outputs)
    assert model.status == "READY"
    saved = Path(model.artifact_location.removeprefix("file://"))
    assert "input_example.json" in {path.name for path in saved.iterdir()}
    assert "signature" in (saved / "MLmodel").read_text()


@pytest.mark.slow
def test_each_job_of_a_sweep_has_its_model(tmp_path: Path, mnist_dir: Path) -> None:
    from mlflow import MlflowClient

    command = [
        *(sys.executable, "src/train.py", "-m", "model.optimizer.lr=0.1,0.01", "data.val_size=64"),
        *("common/logger@logger=mlflow", "trainer.max_epochs=1", "trainer.accelerator=cpu"),
        *(f"paths.data_dir={mnist_dir}", f"paths.log_dir={tmp_path}"),
    ]
    told = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "not logged as a model" not in told.stdout + told.stderr
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    (experiment,) = (e for e in client.search_experiments() if e.name != "Default")
    models = client.search_logged_models([experiment.experiment_id])
    assert [model.status for model in models] == ["READY", "READY"]
    assert len({model.source_run_id for model in models}) == 2
    assert not list(tmp_path.glob("train/multiruns/*/*/mlflow/files/*"))


def the_run(log_dir: Path) -> tuple["MlflowClient", "Run"]:
    """Return a client of the database in `log_dir`, and the one run in it."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{log_dir}/mlflow/mlflow.db")
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return client, run


def holds_canary(path: Path) -> bool:
    """Say whether the secret of the environment stands in a file."""
    return CANARY.encode() in path.read_bytes()
