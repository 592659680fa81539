"""What several processes gain, and what each launcher costs a job: ratios taken in one run.

python benchmarks/scaling.py PROJECT [processes] [joblib] [launchers] [--repeat 3]

PROJECT is a baked project whose environment is active. The two sides of a comparison alternate.
"""

import argparse
import csv
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

SPEED = "system/samples_per_second"
DIGITS = ("data=digits", "common/logger@logger=none", "common/callbacks@callbacks=none")
SHORT = (*DIGITS, "trainer.accelerator=cpu", "trainer.max_epochs=1", "test=false", "seed=0")
STEPS = (  # the second epoch counts; the first one warms up
    *("data=digits", "common/logger@logger=csv", "common/callbacks@callbacks=none", "test=false"),
    *("seed=0", "trainer.max_epochs=2", "++trainer.limit_val_batches=0", "model/scheduler=none"),
)
HEAVY = (*STEPS, "model/net=resnet18", "++trainer.limit_train_batches=3")
JOBS = ("-m", *SHORT, "trainer.max_epochs=10", "data.batch_size=64")  # a second or two each

Side = tuple[str, ...]
COMPARISONS: dict[str, dict[str, Side]] = {
    "processes": {  # of as many images each
        f"{name}, {processes}": (*net, f"common/trainer@trainer={trainer}", "data.batch_size=64")
        for name, net in {"ResNet-18": HEAVY, "dense net": STEPS}.items()
        for processes, trainer in {"1 process": "cpu", "2 processes": "ddp_sim"}.items()
    },
    "joblib": {
        "20 jobs, 1 worker": (*JOBS, "seed=range(0,20)"),
        "20 jobs, joblib, 2 workers": (
            *(*JOBS, "seed=range(0,20)"),
            *("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        ),
    },
    "launchers": {
        f"4 jobs, {name}": ("-m", *SHORT, "seed=range(0,4)", f"hydra/launcher={name}", *more)
        for name, more in {
            "basic": (),
            "joblib": ("hydra.launcher.n_jobs=1",),
            "submitit_local": (),
            "submitit_slurm": (),
            "ray": ("+hydra.launcher.ray.init.num_cpus=1",),
        }.items()
    },
}


def measured(project: Path, side: Side) -> tuple[float, float | None]:
    """Return the seconds of one run of `src/train.py`, and its samples a second if it has them."""
    with tempfile.TemporaryDirectory(dir=project) as logs:
        seeds = any("seed=range" in o for o in side)
        overrides = [o for o in side if not (seeds and o == "seed=0")]
        command = [sys.executable, "src/train.py", *overrides, f"paths.log_dir={logs}"]
        # Several processes against one: a core each, or one process would take both cores.
        alone = {"OMP_NUM_THREADS": "1"} if any("trainer@trainer" in o for o in side) else {}
        start = time.perf_counter()
        result = subprocess.run(
            command, cwd=project, capture_output=True, text=True, env=os.environ | alone
        )
        taken = time.perf_counter() - start
        if result.returncode:
            sys.exit(f"{' '.join(command)}\n{result.stdout[-2000:]}{result.stderr[-4000:]}")
        rates: list[str] = []
        for path in Path(logs).rglob("metrics.csv"):
            with open(path, newline="") as file:
                rates += [row.get(SPEED) or "" for row in csv.DictReader(file)]
        return taken, next((float(rate) for rate in reversed(rates) if rate), None)


def table(taken: dict[str, list[float]]) -> list[str]:
    """Return a row for each side: the median of its runs, and the ratio to the first of its kind.

    The kind is what stands before the first comma.
    """
    firsts: dict[str, float] = {}
    lines = ["| what | median | min | max | ratio |", "|---|---|---|---|---|"]
    for side, values in taken.items():
        median = statistics.median(values)
        row = [f"{x:.1f}" for x in (median, min(values), max(values))]
        first = firsts.setdefault(side.partition(",")[0], median)
        lines.append(f"| {side} | {' | '.join(row)} | {median / first:.2f} |")
    return lines


def main() -> None:
    """Measure, and write a table to `benchmarks/results/`, or elsewhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("comparisons", nargs="*", default=list(COMPARISONS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    arguments.results.mkdir(exist_ok=True)
    for name in arguments.comparisons:
        seconds: dict[str, list[float]] = {side: [] for side in COMPARISONS[name]}
        rates: dict[str, list[float]] = {side: [] for side in COMPARISONS[name]}
        load = os.getloadavg()[0]
        for _ in range(arguments.repeat):
            for side, overrides in COMPARISONS[name].items():
                taken, rate = measured(arguments.project.resolve(), overrides)
                seconds[side].append(taken)
                rates[side] += [] if rate is None else [rate]
        lines = [
            f"# {name}: seconds from the command to its end",
            "",
            f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load "
            f"{load:.1f} from other work at the start, Python {platform.python_version()}, "
            f"n = {arguments.repeat}, {datetime.now():%Y-%m-%d}.",
            "",
            *table(seconds),
        ]
        if all(rates.values()):
            lines += ["", "Samples a second while training proper:", "", *table(rates)]
        text = "\n".join(lines) + "\n"
        print(text, flush=True)
        (arguments.results / f"scaling_{name}.md").write_text(text)


if __name__ == "__main__":
    main()
