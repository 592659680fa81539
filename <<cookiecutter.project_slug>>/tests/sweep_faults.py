"""Sweeps that are killed at random moments, and run again until they are done.

python -m tests.sweep_faults                # 20 kills
python -m tests.sweep_faults --kills 3

Each is `src/train.py -m ... sweep_name=NAME` in a process of its own, forked from this one, which
has torch imported already. What a sweep leaves is compared, to the last digit, with what one left
that nothing happened to.
"""

import argparse
import os
import random
import runpy
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import src.callbacks.log_images
import src.data.mnist_datamodule
import src.models.mnist_module
import src.runtime.build
import src.runtime.runs  # noqa: F401  heavy: imported once, for all that are forked
from src.runtime.identity import PROJECT_ROOT
from src.runtime.sweep import results, sweep_jobs
from tests.conftest import write_small_mnist

SWEEP = (
    *("-m", "model.optimizer.lr=0.001,0.01", "seed=0,1", "optimized_metric=val/acc"),
    *("data.val_size=64", "data.batch_size=16", "trainer.max_epochs=4", "trainer.accelerator=cpu"),
    *("common/logger@logger=none", "common/callbacks@callbacks=model_checkpoint"),
    "callbacks.last_checkpoint.every_n_steps=5",
)
Ends = dict[str, Any]  # of the jobs, by overrides


def start(folder: Path, name: str) -> int:
    """Start a sweep, and return the number of its process."""
    process = os.fork()
    os.setpgid(process, process)  # on both sides: a kill may come before the child does it
    if process:
        return process
    log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code: Any = 1
    try:
        paths = (f"paths.log_dir={folder}", f"paths.data_dir={folder / 'data'}")
        sys.argv = ["src/train.py", *SWEEP, *paths, f"sweep_name={name}"]
        runpy.run_path(str(PROJECT_ROOT / "src" / "train.py"), run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code
    finally:
        os._exit(code if isinstance(code, int) else 1)


def ended(process: int, seconds: float | None = None) -> int | None:
    """Return the exit code of a process; kill it after some seconds, and return None."""
    deadline = time.monotonic() + (seconds or 3600)
    while time.monotonic() < deadline:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def ends(folder: Path, name: str) -> Ends:
    """Return status, metrics and weights of each job of a sweep."""
    sweep_dir = folder / "train" / "multiruns" / name
    found: Ends = {}
    for number, overrides in sweep_jobs.read(sweep_dir).items():
        result = results.Result.read(sweep_dir / str(number))
        last = sweep_dir / str(number) / "checkpoints" / "last.ckpt"
        weights = torch.load(last, weights_only=True)["state_dict"] if last.exists() else {}
        found[f"{number}: {' '.join(overrides)}"] = (
            *(result.status, result.metrics),
            {key: value.tolist() for key, value in weights.items()},
        )
    return found


def main() -> int:
    """Run the campaign, print its figures, and return 1 if anything was lost."""
    parser = argparse.ArgumentParser(description="Kill sweeps, and run them again.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sweep_faults_"))
    write_small_mnist(folder / "data")
    began = time.monotonic()
    if ended(start(folder, "whole")) != 0:
        print(f"a sweep fails without any fault: see {folder}/whole.log")
        return 1
    seconds = time.monotonic() - began
    expected = ends(folder, "whole")
    chance = random.Random(arguments.seed)
    kills, sweeps, faults = 0, 0, 0
    while kills < arguments.kills:
        sweeps += 1
        name = f"killed_{sweeps}"
        code: int | None = None
        while code is None:
            if kills == arguments.kills:
                code = ended(start(folder, name))
            elif (code := ended(start(folder, name), chance.uniform(0, seconds))) is None:
                kills += 1
        same = code == 0 and ends(folder, name) == expected
        faults += not same
        print(f"{name}: {'as if never killed' if same else f'DIFFERS, see {folder}/{name}.log'}")
    print(f"{kills} kills in {sweeps} sweeps of {len(expected)} jobs: {faults} differ")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
