"""How fast the generated project is, as ratios: the sides of a comparison take turns in one run.

python benchmarks/bench.py PROJECT [--data-dir DIR] [--accelerator gpu] [--only steps,startup]
python benchmarks/bench.py PROJECT --quick        # a few steps of each, to see that it works

PROJECT is a baked project; run this with its environment, plus matplotlib.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import comparisons
import report
from data import find_or_make
from processes import Runner

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("project", type=Path)
parser.add_argument("--data-dir", type=Path, help="holds MNIST/raw; default: the project's data/")
parser.add_argument("--accelerator", default="cpu", choices=["cpu", "gpu"])
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--only", default="", help=f"of {','.join(comparisons.ALL)}")
parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
parser.add_argument("--quick", action="store_true")


def main() -> None:
    """Run the comparisons chosen, and write the table and the plot."""
    args = parser.parse_args()
    if args.quick:
        args.rounds = 1
    chosen = args.only.split(",") if args.only else list(comparisons.ALL)
    if unknown := set(chosen) - set(comparisons.ALL):
        sys.exit(f"--only={','.join(unknown)} is unknown: choose of {','.join(comparisons.ALL)}")
    with tempfile.TemporaryDirectory() as scratch:
        data_dir, kind = find_or_make(args.data_dir or args.project / "data", Path(scratch))
        runner = Runner(
            args.project.resolve(), data_dir.resolve(), Path(scratch), args.accelerator, args.quick
        )
        rows, growth = [], []
        for name in chosen:
            print(f"{name} ...", flush=True)
            found = comparisons.ALL[name](runner, args.rounds)
            (growth if name == "growth" else rows).extend(found)
            report.write(args.results, args.accelerator, kind, rows, growth)


if __name__ == "__main__":
    main()
