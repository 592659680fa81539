"""Run folders arrive in MLflow: whole, once, under names that it takes."""

import json
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow_tools import HandWrittenRun, client_of, stored_files, stored_history, stored_run
from PIL import Image

from src.runtime import mlflow_upload
from src.runtime.mlflow_logger import MOST_PARAMS, MLflowLogger, params_to_compare
from src.runtime.mlflow_run import DESCRIPTION, METRICS, STATE, RunUploader, is_fully_uploaded
from src.runtime.project import read_json, write_json

pytest.importorskip("mlflow")
MakeRun = Callable[..., HandWrittenRun]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a database; creating one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture
def make_run(tmp_path: Path, uri: str) -> MakeRun:
    """Return a function that makes a run folder in `logs/`."""

    def make(name: str = "train/runs/some", **about: Any) -> HandWrittenRun:
        return HandWrittenRun(tmp_path / "logs" / name, uri, **about)

    return make


def test_a_run_arrives_whole_and_is_delivered_once(make_run: MakeRun, uri: str) -> None:
    run = make_run(params={"model.optimizer.lr": "0.1"}, tags={"dev": "true"})
    (run.dir / "images").mkdir()
    Image.new("RGB", (4, 4)).save(run.dir / "images" / "val_matrix_step_12.png")
    (run.dir / "artifacts" / "notes").mkdir(parents=True)
    (run.dir / "artifacts" / "notes" / "a.txt").write_text("a")
    run.log_steps(range(1200))
    RunUploader(run.dir).upload_new_data()
    assert stored_run(uri, run.dir).info.status == "RUNNING"
    assert not is_fully_uploaded(run.dir)
    run.log_steps(range(1200, 1300))
    run.end()
    RunUploader(run.dir).upload_new_data()
    assert is_fully_uploaded(run.dir)
    stored = stored_run(uri, run.dir)
    assert stored.info.status == "FINISHED"
    assert stored.info.run_name == "some"
    assert stored.data.params == {"model.optimizer.lr": "0.1"}
    assert stored.data.tags["dev"] == "true"
    assert stored.data.tags["mlflow.source.git.commit"] == "abc"
    assert stored_history(uri, run.dir) == run.history()
    files = ["config.yaml", "images/val_matrix_step_12.png", "notes/a.txt"]
    assert sorted(stored_files(uri, run.dir)) == files
    assert "has everything that was logged" in mlflow_upload.upload_status_text(run.dir)


def test_what_is_sent_again_is_there_once(make_run: MakeRun, uri: str) -> None:
    run = make_run()
    run.log_steps(range(700))
    run.end()
    RunUploader(run.dir).upload_new_data()
    first = stored_run(uri, run.dir).info.run_id
    # Killed before it noted what had arrived, or the run that it had created.
    for lost in ({"offset": 40, "delivered": None}, None):
        if lost is None:
            (run.dir / STATE).unlink()
        else:
            write_json(run.dir / STATE, read_json(run.dir / STATE) | lost)
        RunUploader(run.dir).upload_new_data()
        assert stored_run(uri, run.dir).info.run_id == first
        assert stored_history(uri, run.dir) == run.history()
    key = read_json(run.dir / DESCRIPTION)["key"]
    experiment = read_json(run.dir / STATE)["experiment_id"]
    assert len(client_of(uri).search_runs([experiment], f"tags.run_key = '{key}'")) == 1


def test_names_that_mlflow_refuses_are_repaired_and_told(make_run: MakeRun, uri: str) -> None:
    bad = ["train//loss", "/lead", "a/../b", "x" * 300, "100%", "", "y/", "..", "é%"]
    run = make_run(tags={"lr=0.1": "true", "50%": "true", "#1 try": "true"})
    run.log(1, {"train/loss": 0.5, **{name: float(i) for i, name in enumerate(bad)}})
    run.log(2, {"train/loss": 0.4, "x" * 301: 5.0})
    run.end()
    RunUploader(run.dir).upload_new_data()
    assert is_fully_uploaded(run.dir)
    history = stored_history(uri, run.dir)
    assert history["train/loss"] == [(1, 0.5), (2, 0.4)]
    assert history["train/loss_"] == [(1, 0.0)]  # not mixed with another name's
    assert len(history) == 1 + len(bad) + 1
    tags = stored_run(uri, run.dir).data.tags
    assert {"lr_0.1", "50_", "_1 try"} <= tags.keys()
    line = mlflow_upload.upload_status_text(run.dir)
    assert "'train//loss' (train/loss_)" in line
    assert "'#1 try' (_1 try)" in line


def test_what_cannot_be_repaired_is_left_out_and_told(make_run: MakeRun, uri: str) -> None:
    run = make_run()
    for step in range(100):
        run.log(step, {"good": step})
        run.log(step, {"early": step}, at=-5 if step == 50 else None)  # no such time
    run.end()
    RunUploader(run.dir).upload_new_data()
    assert is_fully_uploaded(run.dir)
    history = stored_history(uri, run.dir)
    assert len(history["good"]) == 100
    assert len(history["early"]) == 99
    assert "refused 'early'" in mlflow_upload.upload_status_text(run.dir)


def test_values_that_are_not_finite_arrive(make_run: MakeRun, uri: str) -> None:
    run = make_run()
    values = {1: math.nan, 2: math.inf, 3: -math.inf, 4: 1.0}
    for step, value in values.items():
        run.log(step, {"loss": value})
    run.end()
    RunUploader(run.dir).upload_new_data()
    stored = dict(stored_history(uri, run.dir)["loss"])
    assert math.isnan(stored[1])
    assert stored[2] > 1e308  # a database has no infinity
    assert stored[3] < -1e308
    assert stored[4] == 1.0


def test_a_damaged_line_costs_only_itself(make_run: MakeRun, uri: str) -> None:
    run = make_run()
    run.log(1, {"loss": 1.0})
    with (run.dir / METRICS).open("a") as file:
        file.write('{"time": 1, "st\n')
    run.log(2, {"loss": 2.0})
    with (run.dir / METRICS).open("a") as file:
        file.write('{"time": 1, "step": 3, "metr')  # still being written
    run.end()
    RunUploader(run.dir).upload_new_data()
    assert stored_history(uri, run.dir) == {"loss": [(1, 1.0), (2, 2.0)]}


def test_a_resumed_run_goes_on_in_its_own(make_run: MakeRun, uri: str) -> None:
    run = make_run(params={"trainer.max_epochs": "1"})
    run.log_steps(range(10))
    run.end("killed")
    RunUploader(run.dir).upload_new_data()
    first = stored_run(uri, run.dir)
    assert first.info.status == "KILLED"
    again = make_run(**read_json(run.dir / DESCRIPTION) | {"params": {"trainer.max_epochs": "2"}})
    again.log_steps(range(10, 20))
    assert not is_fully_uploaded(run.dir)
    RunUploader(run.dir).upload_new_data()
    again.end()
    RunUploader(run.dir).upload_new_data()
    stored = stored_run(uri, run.dir)
    assert stored.info.run_id == first.info.run_id
    assert stored.info.status == "FINISHED"
    assert stored.data.params == {"trainer.max_epochs": "1"}  # MLflow changes none
    assert len(stored_history(uri, run.dir)["train/loss"]) == 20
    assert "refused" not in mlflow_upload.upload_status_text(run.dir)  # nothing to do about it


def test_a_run_that_was_deleted_in_mlflow_is_created_anew(make_run: MakeRun, uri: str) -> None:
    run = make_run()
    run.log_steps(range(10))
    upload = RunUploader(run.dir)
    upload.upload_new_data()
    deleted = stored_run(uri, run.dir).info.run_id
    client_of(uri).delete_run(deleted)
    run.log_steps(range(10, 20))
    run.end()
    upload.upload_new_data()
    assert not is_fully_uploaded(run.dir)
    assert "active" in read_json(run.dir / STATE)["error"]
    upload.upload_new_data()
    assert is_fully_uploaded(run.dir)
    assert stored_run(uri, run.dir).info.run_id != deleted
    assert stored_history(uri, run.dir) == run.history()
    assert read_json(run.dir / STATE)["rejected"] == {}


def test_a_sweep_is_one_run_with_its_jobs_below(
    make_run: MakeRun, uri: str, tmp_path: Path
) -> None:
    jobs = [make_run(f"train/multiruns/lr/{n}", run_name=f"lr=0.{n}") for n in range(3)]
    for number, job in enumerate(jobs):
        job.log_steps(range(5))
        RunUploader(job.dir).upload_new_data()
        job.end("failed" if number == 1 else "finished")
        RunUploader(job.dir).upload_new_data()
    children = [stored_run(uri, job.dir) for job in jobs]
    (parent_id,) = {run.data.tags["mlflow.parentRunId"] for run in children}
    parent = client_of(uri).get_run(parent_id)
    assert parent.info.run_name == "lr"
    assert parent.info.status == "FINISHED"
    assert [run.info.run_name for run in children] == ["lr=0.0", "lr=0.1", "lr=0.2"]
    assert [run.info.status for run in children] == ["FINISHED", "FAILED", "FINISHED"]
    assert len(list((tmp_path / "logs").rglob("run.json"))) == 3  # the report has no fourth row


def test_a_password_stays_in_the_environment(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "src.runtime.mlflow_logger.ensure_uploader_is_running", lambda run_dir: None
    )
    logger = MLflowLogger(tmp_path, "some", "http://me:secret@127.0.0.1:9/")
    logger.experiment.log_param(logger.run_id, "p", 1)
    assert read_json(tmp_path / DESCRIPTION)["tracking_uri"] == "http://127.0.0.1:9/"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9/")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    RunUploader(tmp_path).upload_new_data()
    assert not is_fully_uploaded(tmp_path)
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "secret" not in written
    assert "127.0.0.1" in read_json(tmp_path / STATE)["error"]


def test_parameters_are_what_one_would_compare() -> None:
    config = {
        "task_name": "train",
        "seed": 0,
        "tags": ["dev"],
        "paths": {"log_dir": "/x"},
        "trainer": {"_target_": "lightning.pytorch.Trainer", "max_epochs": 3, "devices": 1},
        "data": {"_target_": "src.data.mnist.MNISTDataModule", "data_dir": "/x", "batch_size": 64},
        "model": {
            "_target_": "src.models.lit_module.LitModule",
            "net": {"_target_": "src.models.Dense", "sizes": [1, 2], "num_classes": "???"},
            "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.1},
            "scheduler": None,
        },
        "callbacks": {"early_stopping": {"patience": 3}},
    }
    assert params_to_compare(config) == {
        "seed": "0",
        "trainer": "Trainer",
        "trainer.max_epochs": "3",
        "data": "MNISTDataModule",
        "data.batch_size": "64",
        "model": "LitModule",
        "model.net": "Dense",
        "model.net.sizes": "[1, 2]",
        "model.optimizer": "Adam",
        "model.optimizer.lr": "0.1",
    }


@pytest.fixture
def logger(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> MLflowLogger:
    """Return a logger that starts no upload."""
    monkeypatch.setattr(
        "src.runtime.mlflow_logger.ensure_uploader_is_running", lambda run_dir: None
    )
    return MLflowLogger(tmp_path / "run", "by_hand", uri)


def test_at_most_forty_parameters(logger: MLflowLogger) -> None:
    logger.log_hyperparams({"model": {f"p{n}": n for n in range(100)}})
    logger.log_hyperparams({"more": 1})
    rows = [json.loads(line) for line in (logger.run_dir / METRICS).read_text().splitlines()]
    assert [len(row["params"]) for row in rows] == [MOST_PARAMS, MOST_PARAMS]


def test_calls_of_mlflows_client_arrive(
    logger: MLflowLogger, uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from matplotlib.figure import Figure

    client, run_id = logger.experiment, logger.run_id
    client.log_metric(run_id, "own", 1.5, step=3)
    client.log_metric(run_id, "own", np.float32(2.5), timestamp=7, step=4)
    client.log_param(run_id, "p", 1)
    client.set_tag(run_id, "t", "v")
    client.log_text(run_id, "hello", "notes/a.txt")
    client.log_dict(run_id, {"a": 1}, "a.json")
    client.log_figure(run_id, Figure(), "figure.png")
    client.log_image(run_id, np.zeros((8, 8, 3)), "x.png")
    client.log_image(run_id, np.ones((8, 8, 1), dtype=np.uint8), key="some/key", step=3)
    source = tmp_path / "source"
    source.mkdir()
    (source / "b.txt").write_text("b")
    client.log_artifact(run_id, str(source / "b.txt"), "below")
    client.log_artifact(run_id, str(source))
    assert not caplog.records
    client.log_image(run_id, "no image", "y.png")
    client.log_image(run_id, "no image", "y.png")
    client.log_something(run_id, 1)
    assert len(caplog.records) == 2
    RunUploader(logger.run_dir).upload_new_data()
    history = stored_history(uri, logger.run_dir)
    assert history == {"own": [(3, 1.5), (4, 2.5)]}
    stored = stored_run(uri, logger.run_dir).data
    assert stored.params == {"p": "1"}
    assert stored.tags["t"] == "v"
    images = ["figure.png", "images/some_key_step_3.png", "notes/a.txt", "x.png"]
    expected = ["a.json", "below/b.txt", *images, "source/b.txt"]
    assert sorted(stored_files(uri, logger.run_dir)) == sorted(expected)
    assert logger.run_id is not None


def test_the_process_beside_runs_finds_new_ones_and_ends(
    make_run: MakeRun, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_upload, "IDLE_ROUNDS", 10)
    monkeypatch.setattr(mlflow_upload, "POLL_SECONDS", 0.1)
    first = make_run("train/runs/first")
    first.log_steps(range(10))
    log_dir = tmp_path / "logs"
    following = threading.Thread(target=mlflow_upload.upload_runs_until_idle, args=(log_dir,))
    following.start()
    time.sleep(0.5)
    second = make_run("train/runs/second")
    with monkeypatch.context() as patched:
        patched.setattr(mlflow_upload, "subprocess", None)  # starting a second process would fail
        mlflow_upload.ensure_uploader_is_running(second.dir)
    for run in (first, second):
        run.log_steps(range(10, 20))
        run.end()
    assert "has everything" in mlflow_upload.upload_status_after_waiting(second.dir)
    assert "has everything" in mlflow_upload.upload_status_after_waiting(log_dir)
    following.join(30)
    assert not following.is_alive()
    for run in (first, second):
        assert stored_history(uri, run.dir) == run.history()


def test_sync_moves_runs_to_another_store(
    make_run: MakeRun, tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    run.log_steps(range(10))
    run.end()
    RunUploader(run.dir).upload_new_data()
    moved = f"sqlite:///{tmp_path}/moved.db"
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for _ in range(2):
        answer = command(str(tmp_path / "logs"), "--to", moved, verb="sync")
        assert answer.code == 0, answer.err
        assert "has everything" in answer.out
    assert stored_history(moved, run.dir) == run.history()


def test_a_store_that_is_no_database_is_told(
    make_run: MakeRun, tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.db").write_text("not a database " * 100)
    run = make_run(tracking_uri=f"sqlite:///{tmp_path}/broken.db")
    run.log(1, {"loss": 1.0})
    run.end()
    monkeypatch.setattr(os, "environ", os.environ.copy())
    answer = command(str(run.dir), verb="sync")
    assert answer.code == 1
    assert "not a database" in answer.out
    assert f"python src/sync.py {run.dir}" in answer.out


def test_a_training_run_arrives_by_itself(compose_train: Any, tmp_path: Path) -> None:
    from src.train import train

    database = f"sqlite:///{tmp_path}/logs/mlflow/mlflow.db"
    cfg = compose_train("logger=mlflow", f"logger.mlflow.tracking_uri={database}")
    train(cfg)
    (run_dir,) = (path.parent for path in (tmp_path / "logs").rglob("run.json"))
    assert is_fully_uploaded(run_dir)
    rows = [json.loads(line) for line in (run_dir / METRICS).read_text().splitlines()]
    logged = sum(len(row["metrics"]) for row in rows)
    assert sum(map(len, stored_history(database, run_dir).values())) == logged > 5
    assert stored_run(database, run_dir).info.status == "FINISHED"
