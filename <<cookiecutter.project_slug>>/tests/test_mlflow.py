"""MLflow: what a run leaves in its database, read back with MLflow's own client."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.runtime.identity import PROJECT_ROOT
from src.runtime.journal import Journal, read

DIGITS = ("data=digits", "trainer.accelerator=cpu", "seed=0")


def run_train(tmp_path: Path, *overrides: str, **environment: str) -> subprocess.CompletedProcess:
    """Train on the embedded digits, with logs in `tmp_path`."""
    command = [sys.executable, "src/train.py", *DIGITS, f"paths.log_dir={tmp_path}", *overrides]
    result = subprocess.run(
        command, cwd=PROJECT_ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_the_journal_survives_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    script = f"""
import resource
from pathlib import Path
from src.runtime.journal import Journal
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


def test_a_run_is_found_in_mlflow_as_it_was(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    result = run_train(tmp_path, "trainer.max_epochs=2", "common/logger@logger=mlflow")
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert "has everything that was logged" in result.stdout
    assert run.info.status == "FINISHED"
    assert run.data.params["data.batch_size"] == "64"
    history = client.get_metric_history(run.info.run_id, "val/acc")
    assert [metric.step for metric in history] == [20, 41]
    images = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    assert len([path for path in images if path.endswith(".png")]) == 2
