"""Kill trainings at random moments and compare them with an undisturbed one, bit for bit.

    PROJECT=demo/my_ml_project python tests/machinery/faults.py --kills 100

Each kill is a `kill -9`; the run is then continued by `ckpt_path=last` until it finishes. Weights,
optimizer and metrics of its `last.ckpt` must equal those of the run that nobody killed.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from processes import record, run, run_folders, start, wait_for

KINDS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "workers": ("data.num_workers=2",),
    "validation within epochs": ("+trainer.val_check_interval=0.5",),
    "accumulation": ("+trainer.accumulate_grad_batches=2",),
    "ema": ("+callbacks.ema._target_=lightning.pytorch.callbacks.EMAWeightAveraging",),
    "two processes": ("trainer=ddp_sim",),
}
COMMON = ("trainer.max_epochs=60", "callbacks.last_checkpoint.every_n_minutes=0.02", "test=false")


def final_state(run_dir: Path) -> dict[str, Any]:
    """Return what the last checkpoint of a run holds, without times and paths."""
    last = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    keys = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch")
    return {key: last[key] for key in keys} | {"metrics": last["exact_resume"]["metrics"]}


def differences(a: Any, b: Any, key: str = "") -> list[str]:
    """Return the keys at which two nested values differ."""
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return [key]
        return [found for k in a for found in differences(a[k], b[k], f"{key}.{k}")]
    if isinstance(a, (list, tuple)):
        pairs = zip(a, b, strict=True)
        return [f for i, (x, y) in enumerate(pairs) for f in differences(x, y, f"{key}[{i}]")]
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    return [] if same else [key]


def kill_until_finished(folder: Path, arguments: tuple[str, ...], kills: int, rng: Any) -> int:
    """Kill a run up to `kills` times at random moments, continue it, and return the kills made."""
    made = 0
    while True:
        is_first = not run_folders(folder)
        process = start(folder, *([] if is_first else ["ckpt_path=last"]), *arguments)
        if made < kills:
            poll = process.poll
            wait_for(lambda poll=poll: list(folder.rglob("last.ckpt")) or poll() is not None, 300)
            time.sleep(rng.uniform(0, 4))
            if process.poll() is None:
                process.kill()
                made += 1
        process.wait()
        (run_dir,) = run_folders(folder)
        if record(run_dir)["status"] == "finished":
            return made


def main() -> None:
    """Run the campaign, print a line for each run, and exit with 1 if one differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--kills-per-run", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(KINDS))
    settings = parser.parse_args()
    rng, total, different, number = random.Random(settings.seed), 0, 0, 0
    kinds = [settings.only] if settings.only else list(KINDS)
    references: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        while total < settings.kills:
            kind, number = kinds[number % len(kinds)], number + 1
            arguments = (*KINDS[kind], *COMMON)
            if kind not in references:
                reference = Path(scratch, f"reference {kind}")
                run(reference, *arguments)
                references[kind] = final_state(run_folders(reference)[0])
            folder = Path(scratch, f"run {number}")
            wanted = min(settings.kills_per_run, settings.kills - total)
            made = kill_until_finished(folder, arguments, wanted, rng)
            found = differences(references[kind], final_state(run_folders(folder)[0]))
            total, different = total + made, different + bool(found)
            print(f"{kind}: {made} kills, {'identical' if not found else found[:3]}", flush=True)
    print(f"{number} runs, {total} kills, {different} runs differ")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
