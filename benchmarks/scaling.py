"""What several processes gain, and what each launcher costs a job: ratios taken in one run.

python benchmarks/scaling.py PROJECT [processes] [joblib] [search] [launchers] [--repeat 3]

PROJECT is a baked project whose environment is active. The two sides of a comparison alternate.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

DIGITS = ("data=digits", "common/logger@logger=none", "common/callbacks@callbacks=none")
SHORT = (*DIGITS, "trainer.accelerator=cpu", "trainer.max_epochs=1", "test=false", "seed=0")
HEAVY = (*DIGITS, "model/net=resnet18", "trainer.max_epochs=2", "test=false", "seed=0")
SEARCH = ("-m", *SHORT, "common/search=mnist_optuna", "hydra.sweeper.n_trials=10")

Side = tuple[str, ...]
COMPARISONS: dict[str, dict[str, Side]] = {
    "processes": {  # the same images, so half the batch for each of two
        "1 process": (*HEAVY, "common/trainer@trainer=cpu", "data.batch_size=128"),
        "2 processes": (*HEAVY, "common/trainer@trainer=ddp_sim", "data.batch_size=64"),
    },
    "joblib": {
        "20 jobs, 1 worker": ("-m", *SHORT, "seed=range(0,20)", "hydra/launcher=basic"),
        "20 jobs, joblib, 2 workers": (
            *("-m", *SHORT, "seed=range(0,20)"),
            *("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
        ),
    },
    "search": {
        "10 trials, sequential": SEARCH,
        "10 trials, joblib, 2 workers": (
            *(*SEARCH, "hydra.sweeper.n_jobs=2"),
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
            "ray": ("hydra.launcher.ray.init.num_cpus=1",),
        }.items()
    },
}


def seconds(project: Path, side: Side) -> float:
    """Return the wall-clock time of one run of `src/train.py`."""
    with tempfile.TemporaryDirectory(dir=project) as logs:
        overrides = [o for o in side if not (o == "seed=0" and any("seed=range" in x for x in side))]
        command = [sys.executable, "src/train.py", *overrides, f"paths.log_dir={logs}"]
        if any("search" in o for o in side):
            command.append(f"hydra.sweeper.experiment_file={logs}/best.yaml")
        start = time.perf_counter()
        # Several processes against one: a core each, or one process would take both cores.
        alone = {"OMP_NUM_THREADS": "1"} if any("trainer@trainer" in o for o in side) else {}
        result = subprocess.run(
            command, cwd=project, capture_output=True, text=True, env=os.environ | alone
        )
        if result.returncode:
            sys.exit(f"{' '.join(command)}\n{result.stdout[-2000:]}{result.stderr[-4000:]}")
        return time.perf_counter() - start


def main() -> None:
    """Measure, and write a table to `benchmarks/results/`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("comparisons", nargs="*", default=list(COMPARISONS))
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    for name in arguments.comparisons:
        taken: dict[str, list[float]] = {side: [] for side in COMPARISONS[name]}
        load = os.getloadavg()[0]
        for _ in range(arguments.repeat):
            for side, overrides in COMPARISONS[name].items():
                taken[side].append(seconds(arguments.project.resolve(), overrides))
        first = statistics.median(next(iter(taken.values())))
        lines = [
            f"# {name}: seconds from the command to its end",
            "",
            f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load "
            f"{load:.1f} from other work at the start, Python {platform.python_version()}, "
            f"n = {arguments.repeat}, {datetime.now():%Y-%m-%d}.",
            "",
            "| what | median | min | max | ratio to the first |",
            "|---|---|---|---|---|",
        ]
        for side, times in taken.items():
            median = statistics.median(times)
            row = [f"{x:.1f}" for x in (median, min(times), max(times))]
            lines.append(f"| {side} | {' | '.join(row)} | {median / first:.2f} |")
        text = "\n".join(lines) + "\n"
        print(text, flush=True)
        (results / f"scaling_{name}.md").write_text(text)
        (results / f"scaling_{name}.json").write_text(json.dumps(taken, indent=2) + "\n")


if __name__ == "__main__":
    main()
