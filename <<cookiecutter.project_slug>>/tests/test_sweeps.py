"""A sweep that is run again goes on: nothing is done twice, nothing is lost, numbers stay."""

import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from src.runtime import record
from src.runtime.identity import PROJECT_ROOT
from src.runtime.sweep import results
from tests.conftest import SMALL


class Toy:
    """The toy sweep, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines = folder / "lines"

    def start(self, *overrides: str) -> subprocess.Popen[str]:
        """Start the sweep."""
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.toy_sweep", "-m", *overrides),
                *(f"log_dir={self.folder}", f"lines={self.lines}"),
            ],
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *overrides: str, code: int = 0) -> str:
        """Run the sweep to its end, and return what it printed."""
        process = self.start(*overrides)
        out, err = process.communicate()
        assert process.returncode == code, out + err
        return out + err

    def ran(self) -> list[str]:
        """Return `NUMBER X` of each job that ran since the last call."""
        lines = self.lines.read_text().splitlines() if self.lines.exists() else []
        self.lines.unlink(missing_ok=True)
        return lines


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """Return a sweep that was never run."""
    return Toy(tmp_path)


def test_finished_jobs_are_skipped_and_added_ones_take_the_next_number(toy: Toy) -> None:
    assert "grid: 0 done, 0 failed, 2 left" in toy.run("x=1,2")
    assert toy.ran() == ["0 1", "1 2"]
    again = toy.run("x=0,2,1,3")
    assert "grid: 2 done, 0 failed, 2 left" in again
    assert "grid: 4 done, 0 failed, 0 left" in again
    assert toy.ran() == ["2 0", "3 3"]
    assert results.Result.read(toy.folder / "grid" / "0").metrics == {"val/acc": 0.1}


def test_a_failure_stops_no_other_job_and_is_told_at_the_end(toy: Toy) -> None:
    told = toy.run("x=1,2,3", "+hydra.sweeper.max_batch_size=1", "bad=2", code=1)
    assert toy.ran() == ["0 1", "1 2", "2 3"]
    assert "2 done, 1 failed, 0 left" in told
    row = next(line for line in told.splitlines() if "│ failed" in line)
    assert "x=2 is bad" in row
    toy.run("x=1,2,3", "bad=2", code=1)
    assert toy.ran() == ["1 2"]


@pytest.mark.slow
def test_a_killed_job_keeps_its_number(toy: Toy) -> None:
    toy.run("x=1,2,3", "deadly=2", code=-signal.SIGKILL)
    assert toy.ran() == ["0 1", "1 2"]
    dead = record.read(toy.folder / "grid" / "1")
    assert dead
    assert dead["status"] == "killed"
    toy.run("x=1,2,3", "deadly=2", code=-signal.SIGKILL)
    assert toy.ran() == ["1 2"]


@pytest.mark.slow
def test_joblib_skips_and_goes_on_as_well(toy: Toy) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    told = toy.run("x=1,2,3", "bad=2", *joblib, code=1)
    assert sorted(toy.ran()) == ["0 1", "1 2", "2 3"]
    assert "2 done, 1 failed, 0 left" in told
    assert "x=2 is bad" in told
    toy.run("x=1,2,3,4", "bad=2", *joblib, code=1)
    assert sorted(toy.ran()) == ["1 2", "3 4"]


@pytest.mark.slow
def test_another_configuration_than_the_finished_one_is_told(toy: Toy) -> None:
    toy.run("x=1")
    saved = toy.folder / "grid" / "0" / ".hydra" / "config.yaml"
    saved.write_text(saved.read_text().replace("seconds: 0.0", "seconds: 1.0"))
    assert "finished with another configuration: seconds" in toy.run("x=1")


@pytest.mark.slow
def test_two_processes_do_not_run_one_sweep(toy: Toy) -> None:
    first = toy.start("x=1", "seconds=30")
    try:
        while not toy.lines.exists():
            time.sleep(0.1)
        assert "still running" in toy.run("x=1", "seconds=30", code=1)
    finally:
        first.kill()
        first.communicate()


@pytest.mark.slow
def test_a_sweep_that_is_killed_again_and_again_does_each_job_once(toy: Toy) -> None:
    rng = random.Random(0)
    sweep = ("x=0,1,2,3,4,5,6,7", "seconds=0.3")
    kills = 0
    while kills < 5:
        process = toy.start(*sweep)
        try:
            process.wait(timeout=0.5 + rng.random())
            break
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        finally:
            process.communicate()
    toy.run(*sweep)
    jobs = Counter(toy.ran())
    assert sorted(jobs) == [f"{n} {n}" for n in range(8)]
    assert sum(jobs.values()) <= 8 + kills  # a kill costs the job that it hits, and no other
    assert len({path.name for path in (toy.folder / "grid").glob("[0-9]*")}) == 8


def test_a_name_needs_a_sweep() -> None:
    command = [sys.executable, "src/train.py", "sweep_name=lr_grid"]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert "Add -m" in result.stderr


def test_a_sweep_trains_in_folders_of_its_own_and_then_answers_without_torch(
    tmp_path: Path, mnist_dir: Path
) -> None:
    sweep = [
        *("src/train.py", "-m", "model.optimizer.lr=0.001,0.01", *SMALL, "test=false"),
        *(f"paths.log_dir={tmp_path}", f"paths.data_dir={mnist_dir}"),
        *("trainer.accelerator=cpu", "optimized_metric=val/acc", "sweep_name=lr_grid"),
    ]
    for options in ([], ["-X", "importtime"]):
        command = [sys.executable, *options, *sweep]
        result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert "lr_grid: 2 done, 0 failed, 0 left" in result.stdout
    assert re.search(r"\| +omegaconf$", result.stderr, re.MULTILINE)
    assert not re.search(r"\| +torch$", result.stderr, re.MULTILINE)
    jobs = sorted(tmp_path.glob("train/multiruns/lr_grid/*/checkpoints/last.ckpt"))
    assert [path.parent.parent.name for path in jobs] == ["0", "1"]
