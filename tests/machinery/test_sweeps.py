"""A sweep that is repeated continues: nothing is done twice, nothing is lost, folders stay."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import toy_sweep

from src.runtime import run_folder, sweeps
from src.runtime.project import read_json, write_json
from src.runtime.run_folder import Claim, RunIsActive, iso_now, read_run

TOY = str(Path(toy_sweep.__file__))


class Toy:
    """The toy sweep, with logs of its own."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.folder = log_dir / "toy/multiruns/grid"

    def run(self, *overrides: str) -> None:
        """Run the sweep in this process."""
        toy_sweep.main("-m", *self.overrides(*overrides))

    def start(self, *overrides: str, **environment: str) -> "subprocess.Popen[str]":
        """Start the sweep as a command."""
        return subprocess.Popen(
            [sys.executable, TOY, "-m", *self.overrides(*overrides)],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def overrides(self, *overrides: str) -> list[str]:
        return ["sweep_name=grid", *overrides, f"paths.log_dir={self.log_dir}"]

    def ran(self) -> list[str]:
        """Return `FOLDER X` of each job that ran since the last call."""
        path = self.log_dir / "lines"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def test_finished_jobs_are_skipped_and_added_ones_take_the_next_number(toy: Toy) -> None:
    toy.run("x=1,2")
    assert toy.ran() == ["0 1", "1 2"]
    toy.run("x=0,2,1,3")
    assert toy.ran() == ["2 0", "3 3"]
    toy.run("x=0,2,1,3", "optimized_metric=val/loss")
    assert toy.ran() == []


def test_an_interpolation_is_compared_as_it_was_typed(toy: Toy) -> None:
    for _ in range(2):
        toy.run("x=1,2", "+y=${x}")
    assert toy.ran() == ["0 1", "1 2"]


def test_another_command_gets_folders_of_its_own(toy: Toy) -> None:
    toy.run("x=1")
    toy.run("x=1", "kind=b")
    assert toy.ran() == ["0 1", "1 1"]


def test_without_a_name_each_start_is_a_new_sweep(toy: Toy) -> None:
    for _ in range(2):
        toy_sweep.main("-m", "x=1", f"paths.log_dir={toy.log_dir}")
    assert len(list(toy.folder.parent.iterdir())) == 2


def test_a_metric_that_was_not_recorded_is_named(toy: Toy) -> None:
    toy.run("x=1")
    output, _ = (process := toy.start("x=1", "optimized_metric=val/f1")).communicate()
    assert process.returncode == 1
    assert "optimized_metric=val/f1 was not logged, only val/acc, val/loss" in output
    assert "Exception ignored" not in output


def test_a_failure_stops_no_other_job_and_is_repeated(toy: Toy) -> None:
    output, _ = (process := toy.start("x=1,2,3", TOY_BAD="2")).communicate()
    assert process.returncode == 1
    assert toy.ran() == ["0 1", "1 2", "2 3"]
    lines = [line.split() for line in output.splitlines()]
    assert ["1", "x=2", "failed"] in lines
    assert ["1", "failed:", "ValueError:", "x=2", "is", "bad"] in lines
    toy.run("x=1,2,3")
    assert toy.ran() == ["1 2"]


def test_a_killed_job_keeps_its_folder(toy: Toy) -> None:
    assert toy.start("x=1,2,3", TOY_DEADLY="1").wait() == -signal.SIGKILL
    assert read_run(toy.folder / "1")["status"] == "killed"
    toy.run("x=1,2,3")
    assert toy.ran() == ["0 1", "1 2", "1 2", "2 3"]


def kill_again_and_again(toy: Toy, kills: int) -> None:
    rng = random.Random(0)
    sweep = ("x=0,1,2,3,4,5,6,7",)
    for _ in range(kills):
        process = toy.start(*sweep, TOY_SECONDS="0.3")
        try:
            process.communicate(timeout=0.6 + rng.random())
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    toy.run(*sweep)
    jobs = Counter(toy.ran())
    assert sorted(jobs) == [f"{n} {n}" for n in range(8)]
    assert sum(jobs.values()) <= 8 + kills  # a kill costs the job that it hits, and no other
    assert sorted(path.name for path in toy.folder.glob("[0-9]*")) == [str(n) for n in range(8)]
    assert {(read_run(toy.folder / str(n)) or {})["status"] for n in range(8)} == {"finished"}


def test_a_sweep_that_is_killed_again_and_again_does_each_job_once(toy: Toy) -> None:
    kill_again_and_again(toy, kills=4)


@pytest.mark.slow
def test_twenty_kills(toy: Toy) -> None:
    kill_again_and_again(toy, kills=20)


def test_a_job_that_is_running_is_not_run_again(toy: Toy) -> None:
    toy.run("x=1")
    claim = Claim.acquire(toy.folder / "0")
    record = read_json(toy.folder / "0/run.json")
    write_json(toy.folder / "0/run.json", record | {"status": "running"})
    with pytest.raises(RunIsActive, match=r"grid/0 is in use: process \d+ on "):
        toy.run("x=1")
    claim.release()
    assert toy.ran() == ["0 1"]


def test_processes_of_one_job_share_its_folder_and_jobs_do_not(tmp_path: Path) -> None:
    jobs = [(number, [f"x={number}", "+y='${missing}'"]) for number in range(10)] * 4

    def folder(job: Any) -> str:
        return sweeps.assign_job_folder_name(str(tmp_path), *job)

    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(folder, jobs)) == [str(number) for number, _ in jobs]
        shifted = [(number + 5, overrides) for number, overrides in jobs]
        assert list(pool.map(folder, shifted)) == [str(number) for number, _ in jobs]
    assert len(list(tmp_path.iterdir())) == 10


def test_a_configuration_that_is_only_printed_makes_no_folder(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    toy_sweep.main("--cfg", "all", "--resolve", *toy.overrides("x=1"))
    assert "job_dir" not in capsys.readouterr().out
    assert not toy.folder.exists()


def test_a_folder_of_the_users_own_is_used(toy: Toy) -> None:
    subdir = "hydra.sweep.subdir=job-${x}"
    toy.run("x=1,2", subdir)
    toy.run("x=1,2,3", subdir)
    assert toy.ran() == ["job-1 1", "job-2 2", "job-3 3"]


def test_a_sweep_without_jobs_is_refused(toy: Toy) -> None:
    for empty in ("x=range(0,0)", "+hydra.sweeper.params.x='range(1,1)'"):
        with pytest.raises(SystemExit, match="one of its overrides has no values"):
            toy.run(empty)
    assert not read_run(toy.folder / "0")


def test_a_sweep_that_cannot_be_composed_runs_no_job(toy: Toy) -> None:
    process = toy.start("x=1", "y=1,2")
    output, _ = process.communicate()
    assert process.returncode == 1
    assert "Could not override 'y'" in output
    assert "no values" not in output
    assert not (toy.folder / "0").exists()


def table(output: str) -> list[list[str]]:
    """Return the words of each row of a table of two rows."""
    lines = output.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(" run "))
    return [line.split() for line in (lines[first], *lines[first + 2 : first + 4])]


def test_the_table_groups_replicates(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.run("x=1,2", "seed=0,1,2")
    rows = table(capsys.readouterr().out)
    assert rows[1:] == [["3", "runs", "x=2", "2", "±", "0"], ["3", "runs", "x=1", "1", "±", "0"]]


def test_the_table_shows_what_is_monitored(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.run("x=0,1", "optimized_metric=null")
    rows = table(capsys.readouterr().out)
    assert rows == [["run", "what", "differs", "val/loss"], ["1", "x=1", "0"], ["0", "x=0", "1"]]


def test_jobs_that_recorded_nothing_are_shown(tmp_path: Path) -> None:
    sweeps.assign_job_folder_name(str(tmp_path), 0, ["x=1"])
    ((folder, record),) = run_folder.run_dirs_and_records_below(tmp_path)
    assert (folder.name, record["status"], record["overrides"]) == ("0", "not started", ["x=1"])


def test_a_single_run_asks_nothing_of_the_callback(
    toy: Toy, recwarn: pytest.WarningsRecorder
) -> None:
    toy_sweep.main("x=1", f"paths.log_dir={toy.log_dir}", f"hydra.run.dir={toy.log_dir}/run")
    assert not [str(warning.message) for warning in recwarn if "allback" in str(warning.message)]
    assert iso_now()[:4] == read_run(toy.log_dir / "run")["started"][:4]


def test_a_sweep_that_runs_on_another_host_is_refused(toy: Toy) -> None:
    toy.folder.mkdir(parents=True)
    owner = {"host": "node17", "pid": 1234, "process_start": 1.0}
    write_json(toy.folder / ".sweep.1", owner)
    with pytest.raises(SystemExit, match=r"process 1234 on node17, last seen \d seconds ago"):
        toy.run("x=1")
    assert toy.ran() == []
