"""A campaign of faults: runs are killed, disks fill, checkpoints rot; nothing may be lost.

python -m tests.faults                        # 100 kills, 30 corrupted checkpoints, a full disk
python -m tests.faults --kills 5 --corruptions 3
python -m tests.faults --kills 20 --mlflow    # with MLflow, whose metrics are compared as well

Each run is a process of its own, forked from this one, which has torch imported already; it is
killed with SIGKILL, then resumed by `ckpt_path=RUN_DIR`, and what it leaves is compared bit by
bit with what a run left that nothing happened to.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from src.models.mnist_module import MNISTLitModule
from src.runtime import hydra_versions
from src.runtime.checkpoint import checkpoint_io
from src.runtime.checkpoint.last_checkpoint import LastCheckpoint
from src.runtime.identity import CONFIGS
from src.runtime.tracker.journal import Journal
from src.train import train
from tests.conftest import write_small_mnist
from tests.test_resume import differences, end_of

RUN = (
    *("data.val_size=64", "data.batch_size=16", "trainer.max_epochs=4", "seed=0"),
    *("trainer.accelerator=cpu", "++trainer.val_check_interval=0.5"),
    "common/callbacks@callbacks=model_checkpoint",
    "callbacks.last_checkpoint.every_n_steps=2",
)
WHERE: dict[str, list[tuple[Any, str]]] = {  # which calls a kill may fall into
    "fit": [(MNISTLitModule, "training_step"), (torch.optim.Adam, "step")],
    "validation": [(MNISTLitModule, "validation_step")],
    "checkpoint": [(torch, "save"), (os, "fsync"), (os, "replace")],
    "checkpoint callback": [(LastCheckpoint, "_save")],
    "MLflow": [(Journal, "append")],
    "anywhere": [],
}


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """Call `os.mkdir`."""
        return os.mkdir, (str(self.path),)


class Campaign:
    """Runs in a folder, each beside the others, and what came of them."""

    def __init__(self, folder: Path, logger: str, seed: int) -> None:
        self.folder, self.logger = folder, logger
        self.random = random.Random(seed)
        self.failures: list[str] = []
        write_small_mnist(folder / "data")
        started = time.monotonic()
        whole = folder / "whole"
        assert self.run(whole) == 0, f"see {whole}.log"
        self.seconds = time.monotonic() - started
        self.expected = self.end_of(whole)

    def run(self, run_dir: Path, *overrides: str, before: Callable[[], Any] | None = None) -> int:
        """Train in a process of its own; return its exit code, or minus the signal."""
        pid = self.start(run_dir, *overrides, before=before)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def start(self, run_dir: Path, *overrides: str, before: Callable[[], Any] | None = None) -> int:
        """Fork; call `before` and train in the child; return its process id."""
        paths = (f"paths.data_dir={self.folder / 'data'}", f"paths.log_dir={self.folder / 'logs'}")
        logger = f"common/logger@logger={self.logger}"
        own = (*paths, f"paths.output_dir={run_dir}", logger, *RUN, *overrides)
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONFIGS), **hydra_versions.INITIALIZE):
            cfg = compose("train", overrides=list(own))
        if pid := os.fork():
            return pid
        code = 1
        try:
            with open(f"{run_dir}.log", "ab") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            if before:
                before()
            train(cfg)
            code = 0
        except BaseException as error:
            print(f"Error: {error}", file=sys.stderr)
        finally:
            sys.stdout.flush()
            os._exit(code)

    def end_of(self, run_dir: Path) -> dict[str, Any]:
        """Return what a run left: in its folder, and in MLflow."""
        end = end_of(run_dir)
        if self.logger == "mlflow":
            end["mlflow"] = self.logged(run_dir)
        return end

    def logged(self, run_dir: Path) -> dict[str, Any]:
        """Return each metric of a run in MLflow, by step; but for time, and the machine's state."""
        from mlflow import MlflowClient

        from src.runtime import record

        client = MlflowClient(f"sqlite:///{self.folder}/logs/mlflow/mlflow.db")
        run_id = record.mlflow_run_id(run_dir)
        assert run_id
        history: dict[str, Any] = {}
        for name in client.get_run(run_id).data.metrics:
            if not any(word in name for word in ("time", "second", "speed", "system/")):
                points = client.get_metric_history(run_id, name)
                history[name] = {str(point.step): point.value for point in points}
        return history

    def resume_and_compare(self, run_dir: Path, what: str) -> None:
        """Resume a run to its end; note a failure if it differs from the one left alone."""
        code = self.run(run_dir, f"ckpt_path={run_dir}")
        found = [f"exit code {code}"] if code else []
        if not code:
            found = differences(self.expected, self.end_of(run_dir))
        if found:
            self.failures.append(f"{what}: {len(found)} differences, {found[:3]}: {run_dir}")
            print(self.failures[-1], flush=True)
        else:
            shutil.rmtree(run_dir)

    def kill(self, number: int, where: str) -> str:
        """Kill a run, sometimes its resumption too, and resume it; return where it was hit."""
        run_dir = self.folder / f"killed_{number}"
        hit = 0
        for attempt in range(self.random.choice((1, 1, 2, 3))):
            resumed = [f"ckpt_path={run_dir}"] if attempt else []
            if WHERE[where]:
                target = self.random.choice(WHERE[where])
                nth, delay = self.random.randrange(1, 25), self.random.random() * 0.004
                code = self.run(run_dir, *resumed, before=partial(kill_in, *target, nth, delay))
            else:
                pid = self.start(run_dir, *resumed)
                time.sleep(self.random.random() * self.seconds)
                os.kill(pid, signal.SIGKILL)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            hit += code == -signal.SIGKILL
        self.resume_and_compare(run_dir, f"kill {number} ({where})")
        return f"{where}: {hit} kills"

    def corrupt(self, number: int) -> str:
        """Kill a run, spoil its `last.ckpt`, resume it; return how it was spoilt."""
        run_dir = self.folder / f"corrupted_{number}"
        self.run(run_dir, before=partial(kill_in, MNISTLitModule, "training_step", 40, 0))
        path, harm = run_dir / "checkpoints" / "last.ckpt", self.folder / f"harm_{number}"
        content = path.read_bytes()
        how = ("truncated", "flipped bits", "a pickle that runs code")[number % 3]
        if how == "truncated":
            path.write_bytes(content[: self.random.randrange(len(content))])
        elif how == "flipped bits":
            spoilt = bytearray(content)
            for _ in range(self.random.randrange(1, 4)):
                spoilt[self.random.randrange(len(spoilt))] ^= 2 ** self.random.randrange(8)
            path.write_bytes(spoilt)
        else:
            torch.save(torch.load(path, weights_only=True) | {"bomb": Bomb(harm)}, path)
        self.resume_and_compare(run_dir, f"corruption {number} ({how})")
        if harm.exists():
            self.failures.append(f"corruption {number}: the code was run")
        return how

    def fill_disk(self) -> str:
        """Train on a disk that fills, make room, resume."""
        disk = self.folder / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=2500k", "tmpfs", str(disk)]
        if subprocess.run(mount, capture_output=True).returncode:
            return "not tried: only root may mount a tmpfs"
        try:
            run_dir = disk / "run"
            code = self.run(run_dir)
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            log = Path(f"{run_dir}.log").read_text() if code else "it did not fill"
            said = next(
                (line for line in log.splitlines() if line.startswith("Error:")), log[-300:]
            )
            whole = [p for p in run_dir.glob("*/*.ckpt") if not checkpoint_io.find_damage(p)]
            if not code or not whole:
                self.failures.append(f"full disk: {said}, {len(whole)} whole checkpoints")
            self.resume_and_compare(run_dir, "full disk")
            return said
        finally:
            subprocess.run(["umount", str(disk)], check=True)


def kill_in(owner: Any, name: str, nth: int, delay: float) -> None:
    """Kill this process some seconds after the n-th call of a function has begun."""
    function, left = getattr(owner, name), nth

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            end = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL))
            end.start() if delay else end.run()
        return function(*args, **kwargs)

    setattr(owner, name, call)


def main() -> int:
    """Run the campaign; return 1 if something was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--corruptions", type=int, default=30)
    parser.add_argument("--mlflow", action="store_true", help="log to MLflow, and compare it")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # others would not survive a fork
    folder = Path(tempfile.mkdtemp(prefix="faults_"))
    campaign = Campaign(folder, "mlflow" if options.mlflow else "none", options.seed)
    print(f"A run takes {campaign.seconds:.1f} s; folder {folder}", flush=True)
    kinds = [kind for kind in WHERE if options.mlflow or kind != "MLflow"]
    counts: Counter[str] = Counter()
    for number in range(options.kills):
        counts[campaign.kill(number, kinds[number % len(kinds)])] += 1
    for number in range(options.corruptions):
        counts[campaign.corrupt(number)] += 1
    for line, count in sorted(counts.items()):
        print(f"{count:4}  {line}")
    print(f"full disk: {campaign.fill_disk()}")
    print(f"{len(campaign.failures)} failures")
    if not campaign.failures:
        shutil.rmtree(folder)
    return 1 if campaign.failures else 0


if __name__ == "__main__":
    sys.exit(main())
