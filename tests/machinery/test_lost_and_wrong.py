"""What must not be lost when something goes wrong, and wrong values that only the run meets."""

import logging
import shutil
from pathlib import Path

import pytest
import torch
from conftest import Command, Compose

from src.runtime import checkpoints
from src.runtime.checkpoints import PlainCheckpointIO
from src.runtime.run_folder import read_run
from src.train import train

QUICK = ("data=digits", "logger=none", "trainer=cpu", "callbacks=model_checkpoint")
FEW = ("+trainer.limit_train_batches=3", "+trainer.limit_val_batches=1", "test=false")


def only_run(tmp_path: Path) -> Path:
    """Return the folder of the only run."""
    (folder,) = (tmp_path / "logs/train/runs").iterdir()
    return folder


def test_a_resume_that_fails_at_once_keeps_the_results(command: Command, tmp_path: Path) -> None:
    assert command(*QUICK, *FEW, "trainer.max_epochs=2").code == 0
    folder = only_run(tmp_path)
    before = read_run(folder)["metrics"]
    failed = command(f"ckpt_path={folder}", "trainer.max_epochs=1")
    assert failed.code == 1
    assert "Traceback" not in failed.err
    assert read_run(folder)["metrics"] == before
    assert command(f"ckpt_path={folder}", "trainer.max_epochs=3").code == 0


def test_last_is_a_run_that_has_a_checkpoint(command: Command, tmp_path: Path) -> None:
    assert command(*QUICK, *FEW, "trainer.max_epochs=2").code == 0
    folder = only_run(tmp_path)
    record = (folder / "run.json").read_text().replace('"finished"', '"failed"')
    (folder / "run.json").write_text(record)
    assert command(*QUICK, "trainer=gpu").code == 1 or torch.cuda.is_available()
    assert command("ckpt_path=last", "trainer.max_epochs=3").code == 0
    assert read_run(folder)["status"] == "finished"


def test_a_disk_that_is_full_keeps_the_checkpoint_before(
    compose_train: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = torch.save

    def save(content: object, file: object) -> None:
        if content["epoch"] > 0:  # type: ignore[index]
            raise OSError(28, "No space left on device")
        original(content, file)

    monkeypatch.setattr(checkpoints.torch, "save", save)
    train(compose_train("callbacks=model_checkpoint", "trainer.max_epochs=3", "test=false"))
    found = {path.name for path in only_run(tmp_path).glob("checkpoints/*.ckpt")}
    assert "epoch_000.ckpt" in found


def test_an_error_of_torch_names_the_disks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(content: object, file: object) -> None:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise RuntimeError("[enforce fail at inline_container.cc]") from error

    monkeypatch.setattr(checkpoints.torch, "save", save)
    with caplog.at_level(logging.ERROR):
        PlainCheckpointIO({}).save_checkpoint({}, tmp_path / "x.ckpt")
    assert "No space left on device" in caplog.text


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("model.optimizer.lr=abc", "model.optimizer has a value of a wrong type"),
        ("model.optimizer.lr=null", "model.optimizer has a value of a wrong type"),
        ("-m seed=0,1 sweep_name=", "sweep_name is empty. Type sweep_name=NAME"),
        ("ckpt_path={folder}/other.ckpt", "For its weights: init_from=PATH"),
        ("ckpt_path={folder}/pickled.ckpt", "is damaged or holds more than plain data"),
    ],
)
def test_a_wrong_value_is_one_line(
    command: Command, tmp_path: Path, typed: str, expected: str
) -> None:
    torch.save({"a": 1}, tmp_path / "other.ckpt")
    torch.save({"a": print}, tmp_path / "pickled.ckpt")
    answer = command(*QUICK, *FEW, "trainer.max_epochs=1", *typed.format(folder=tmp_path).split())
    assert answer.code == 1
    assert "Traceback" not in answer.err
    line = answer.err.strip().splitlines()[-1]
    assert line.startswith("Error: ")
    assert "weights_only" not in line
    assert expected in line


def test_a_loss_that_is_not_finite_ends_the_run_in_one_line(command: Command) -> None:
    stop = ("callbacks=[model_checkpoint,finite_loss]", "callbacks.finite_loss.stop=true")
    answer = command(*QUICK, *stop, "trainer.max_epochs=1", "model.optimizer.lr=1e30")
    assert answer.code == 1
    assert answer.err.strip().splitlines()[-1].startswith("Error: The loss became NaN or infinite")
    assert "Traceback" not in answer.err


def test_a_run_whose_record_was_deleted_is_no_run(command: Command, tmp_path: Path) -> None:
    assert command(*QUICK, *FEW, "trainer.max_epochs=1").code == 0
    folder = only_run(tmp_path)
    shutil.copy(folder / "run.json", tmp_path)
    (folder / "run.json").write_text('{"status": "killed", "task": "train"}')
    answer = command(f"ckpt_path={folder}", *QUICK, *FEW, "trainer.max_epochs=2")
    assert answer.code == 0, answer.err


@pytest.mark.parametrize(
    ("verb", "typed", "expected"),
    [
        ("report", "top=abc", "Type top=5"),
        ("report", "top=-1", "Type top=5"),
        ("check", "foo", "foo is no argument of check.py"),
    ],
)
def test_other_commands_refuse_what_they_do_not_know(
    command: Command, verb: str, typed: str, expected: str
) -> None:
    if verb == "report":
        assert command(*QUICK, *FEW, "trainer.max_epochs=1").code == 0
    answer = command(typed, verb=verb)
    assert answer.code == 1
    assert expected in answer.err
    assert "Traceback" not in answer.err
