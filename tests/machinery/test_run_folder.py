"""A run folder has one owner, and its name is never used twice."""

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, tzinfo
from pathlib import Path

import psutil
import pytest

from src.runtime import run_folder
from src.runtime.run_folder import Claim, RunIsActive, active_owner, read_run, update_run


def write_claim(folder: Path, number: int, **changes: object) -> Path:
    owner = {"host": "another-host", "pid": 1, "process_start": "0"} | changes
    path = folder / f".claim.{number}"
    path.write_text(json.dumps(owner), encoding="utf-8")
    return path


def test_a_live_owner_is_named(tmp_path: Path) -> None:
    (tmp_path / ".claim.log").touch()  # as the uploader's beside its claim
    claim = Claim.acquire(tmp_path)
    with pytest.raises(RunIsActive, match=f"process {os.getpid()} on {socket.gethostname()}"):
        Claim.acquire(tmp_path)
    claim.release()
    assert active_owner(tmp_path) is None
    assert Claim.acquire(tmp_path).number == 2


def test_a_killed_process_is_dead_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, time; from src.runtime.run_folder import Claim;"
        "Claim.acquire(sys.argv[1]); print('claimed', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    assert active_owner(tmp_path) is not None
    process.kill()
    time.sleep(0.2)
    assert active_owner(tmp_path) is None, "a zombie counts as dead"
    process.wait()


@pytest.mark.parametrize("seconds_behind", [0, -3600, 3600])
def test_another_host_counts_by_its_heartbeat_on_the_clock_of_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds_behind: int
) -> None:
    real_time = time.time
    monkeypatch.setattr(time, "time", lambda: real_time() + seconds_behind)
    claim = write_claim(tmp_path, 1)
    with pytest.raises(RunIsActive, match="another-host, last seen 0 seconds ago"):
        Claim.acquire(tmp_path)
    long_ago = real_time() - run_folder.DEAD_SECONDS - 5
    os.utime(claim, (long_ago, long_ago))
    assert active_owner(tmp_path) is None


def test_only_one_of_many_takes_over_a_dead_run(tmp_path: Path) -> None:
    write_claim(tmp_path, 1, host=socket.gethostname(), pid=2**22 - 1)

    def take(_: int) -> bool:
        try:
            Claim.acquire(tmp_path)
        except RunIsActive:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(take, range(64))) == 1


def test_a_suspended_owner_notices_that_it_lost(tmp_path: Path) -> None:
    claim = Claim.acquire(tmp_path)
    assert not claim.is_lost()
    write_claim(tmp_path, claim.number + 1)
    assert claim.is_lost()


def test_a_release_leaves_the_claim_of_somebody_else(tmp_path: Path) -> None:
    claim = Claim.acquire(tmp_path)
    write_claim(tmp_path, claim.number)  # the folder was deleted and taken meanwhile
    claim.release()
    assert active_owner(tmp_path) is not None


def test_a_claim_that_is_just_being_written_counts_as_live(tmp_path: Path) -> None:
    (tmp_path / ".claim.1").touch()
    with pytest.raises(RunIsActive, match="on unknown"):
        Claim.acquire(tmp_path)


def test_a_run_whose_process_disappeared_is_read_as_killed(tmp_path: Path) -> None:
    update_run(tmp_path, status="running", task="train")
    record = read_run(tmp_path)
    assert record is not None
    assert record["status"] == "killed"
    assert "disappeared" in record["error"]


def test_ids_are_unique_under_slurm_and_a_requeued_job_gets_its_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    ids = {run_folder.new_run_id(str(tmp_path), "train") for _ in range(40)}
    assert len(ids) == 40, "two commands in one salloc shell make two runs"
    first = tmp_path / "train" / "runs" / sorted(ids)[0]
    first.mkdir(parents=True)
    update_run(first, status="killed", task="train")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run_folder.new_run_id(str(tmp_path), "train") == first.name
    update_run(first, status="finished")
    assert run_folder.new_run_id(str(tmp_path), "train") not in ids
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    assert run_folder.new_run_id() == run_folder.new_run_id() == "slurm_7.0"


def test_a_clock_that_jumps_back_repeats_no_name_and_keeps_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Clock":
            return cls(2026, 1, 1, tzinfo=tz)

    monkeypatch.setattr(run_folder, "datetime", Clock)
    assert len({run_folder.new_run_id() for _ in range(40)}) == 40
    claim = Claim.acquire(tmp_path)
    boot, created = psutil.boot_time() - 3600, psutil.Process().create_time() - 3600
    monkeypatch.setattr(psutil, "boot_time", lambda: boot)
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: created)
    assert active_owner(tmp_path)
    with pytest.raises(RunIsActive):
        Claim.acquire(tmp_path)
    claim.release()
