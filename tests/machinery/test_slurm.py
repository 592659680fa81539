"""A real SLURM: `slurm_one_node.sh` sets up one of this machine (as root; Debian or Ubuntu)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes import PROJECT, QUICK, record, run_folders

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("sbatch") is None or "SLURM_CONF" not in os.environ,
        reason="no SLURM: tests/machinery/slurm_one_node.sh sets one up",
    ),
]


def submit(folder: Path, *lines: str, options: tuple[str, ...] = ()) -> str:
    """Run a batch script to its end, and return its output."""
    script, output = folder / "job.sh", folder / "slurm.txt"
    script.write_text("\n".join(("#!/bin/bash", f"cd {PROJECT}", *lines)))
    command = ["sbatch", "--wait", f"--output={output}", *options, str(script)]
    subprocess.run(command, check=False, capture_output=True, timeout=400)
    return output.read_text()


def train(folder: Path, *overrides: str) -> str:
    """Return a command line of a short training."""
    return " ".join((sys.executable, "src/train.py", *QUICK, f"paths.log_dir={folder}", *overrides))


def test_two_commands_of_one_allocation_make_two_runs(tmp_path: Path) -> None:
    command = train(tmp_path, "+trainer.fast_dev_run=true")
    output = submit(tmp_path, command, command)
    assert len(run_folders(tmp_path)) == 2, output


def test_a_job_that_is_requeued_continues_in_its_folder(tmp_path: Path) -> None:
    epochs = '$([ -n "$SLURM_RESTART_COUNT" ] && echo 50 || echo 1000)'
    checkpoint = f"{tmp_path}/train/runs/*/checkpoints/last.ckpt"
    interrupt = f"until ls {checkpoint}; do sleep 1; done; kill -USR1 $!"
    output = submit(
        tmp_path,
        f"{train(tmp_path, f'trainer.max_epochs={epochs}')} &",
        f'[ -n "$SLURM_RESTART_COUNT" ] || {{ {interrupt}; }}',
        "wait $!",
        options=("--requeue",),
    )
    (folder,) = run_folders(tmp_path)
    assert record(folder)["resumed"] == 1, output
    assert record(folder)["status"] == "finished", output


def test_srun_starts_the_processes_of_one_run(tmp_path: Path) -> None:
    command = train(tmp_path, "trainer=ddp_sim", "trainer.max_epochs=1")
    output = submit(tmp_path, f"srun {command}", options=("--ntasks-per-node=2",))
    (folder,) = run_folders(tmp_path)
    assert record(folder)["status"] == "finished", output
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert len(last["exact_resume"]["random"]) == 2
