"""Ctrl-C, SIGTERM and `kill -9` leave a checkpoint to resume from, and a code that tells."""

import signal
from pathlib import Path

import pytest
import torch
from processes import epochs_logged, record, run, run_folders, start, wait_for


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_leaves_a_checkpoint_and_prints_the_command_that_resumes(
    tmp_path: Path, name: str, code: int
) -> None:
    process = start(tmp_path, "trainer.max_epochs=1000", "+trainer.limit_val_batches=1")
    wait_for(lambda: any(epochs_logged(folder) > 1 for folder in run_folders(tmp_path)))
    process.send_signal(getattr(signal, name))
    assert process.wait(60) == code
    (folder,) = run_folders(tmp_path)
    assert record(folder)["status"] == "killed"
    assert record(folder)["error"] == name
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] > 0
    output = (tmp_path / "output.txt").read_text()
    assert f"resume:      python src/train.py ckpt_path={folder}" in output
    assert "Traceback" not in output
    epoch = last["epoch"]
    run(tmp_path, "ckpt_path=last", f"trainer.max_epochs={epoch + 2}")
    assert record(folder)["status"] == "finished"
    assert record(folder)["resumed"] == 1


@pytest.mark.slow
def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    process = start(tmp_path, "trainer.max_epochs=1000")
    wait_for(lambda: any(epochs_logged(folder) > 0 for folder in run_folders(tmp_path)))
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
