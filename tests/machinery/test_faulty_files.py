"""A shared file system that misbehaves: no locks, slow renames, no space, in the midst of a run."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import PROJECT, QUICK, record, run_folders, wait_for

HERE = Path(__file__).parent
EPOCHS = 12

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler"),
    pytest.mark.skipif(sys.platform != "linux", reason="needs LD_PRELOAD"),
]


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder below which files misbehave once it holds a file `.faults`."""
    library = tmp_path / "faulty_files.so"
    source = str(HERE / "faulty_files.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    folder = tmp_path / "logs"
    folder.mkdir()
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("FAULTY_DIR", str(folder))
    yield folder
    (folder / ".faults").unlink(missing_ok=True)


def train(folder: Path, *arguments: str) -> Any:
    """Start a training of `EPOCHS` epochs below a folder; its output is beside the folder."""
    typed = (f"paths.log_dir={folder}", f"trainer.max_epochs={EPOCHS}", *arguments)
    often = "callbacks.last_checkpoint.every_n_minutes=0.01"
    with (folder.parent / "output.txt").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "src/train.py", *QUICK, often, *typed],
            cwd=PROJECT,
            stdout=output,
            stderr=output,
            env=os.environ,
        )


def break_files_after_the_first_checkpoint(folder: Path, process: Any) -> None:
    """Wait for a checkpoint, then let the files misbehave."""
    wait_for(lambda: list(folder.rglob("last.ckpt")) or process.poll() is not None)
    (folder / ".faults").touch()


def rows(run_dir: Path) -> list[dict[str, Any]]:
    """Return the metrics of all rows, in order."""
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["metrics"] for line in lines if line]


@pytest.mark.parametrize("seldom", [3, 20])
def test_writes_that_fail_at_random_are_reported_and_lose_no_checkpoint(
    faulty: Path, seldom: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAULTY_EVERY", str(seldom))
    process = train(faulty, "test=false", "monitor=val/acc")
    break_files_after_the_first_checkpoint(faulty, process)
    code = process.wait(300)
    output = (faulty.parent / "output.txt").read_text()
    assert code == 0, output
    assert "Traceback" not in output
    assert f"epoch {EPOCHS - 1}/{EPOCHS - 1}" in output  # it trained to the end
    assert "No space left on device" in output or "Disk quota exceeded" in output
    (run_dir,) = run_folders(faulty)
    found = list((run_dir / "checkpoints").glob("*.ckpt"))
    assert any(path.name == "last.ckpt" for path in found)
    for path in found:  # each is whole
        assert torch.load(path, weights_only=True)["state_dict"]
    logged = [row for row in rows(run_dir) if "train/acc" in row]
    assert len(logged) >= EPOCHS - 1  # a row that could not be written comes with the next one


def test_a_run_without_locks_finishes_and_says_how_to_send_the_rest(faulty: Path) -> None:
    (faulty / ".faults").touch()
    process = train(faulty, "logger=mlflow", "test=false")
    assert process.wait(300) == 0
    output = (faulty.parent / "output.txt").read_text()
    assert "Traceback" not in output
    (run_dir,) = run_folders(faulty)
    assert record(run_dir)["status"] == "finished"
    assert sum("train/acc" in row for row in rows(run_dir)) == EPOCHS
    assert f"src/sync.py {run_dir}" in output or "has everything" in output
