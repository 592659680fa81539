"""How fast the generated project is, as ratios: the sides of a comparison take turns in one run.

python benchmarks/bench.py PROJECT [--data-dir DIR] [--accelerator gpu] [--only steps,startup]
python benchmarks/bench.py PROJECT --quick        # a few steps of each, to see that it works

PROJECT is a baked project; run this with its environment, plus matplotlib. On a GPU, whole epochs
are compared unless --only says otherwise; `jpeg`, `digits` and `decode` also need a bake with
starting_point=images, as --images-project.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import comparisons
import report
import whole_epochs
from data import find_or_make
from processes import Runner

ALL = comparisons.ALL | whole_epochs.OF_MNIST | whole_epochs.OF_FILES
DEFAULT = {"cpu": list(comparisons.ALL), "gpu": ["nets", "jpeg", "decode"]}

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("project", type=Path)
parser.add_argument("--data-dir", type=Path, help="holds MNIST/raw; default: the project's data/")
parser.add_argument("--images-project", type=Path, help="a bake with starting_point=images")
parser.add_argument("--accelerator", default="cpu", choices=["cpu", "gpu"])
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--only", default="", help=f"of {','.join(ALL)}")
parser.add_argument("--match", default="", help="of nets and image files: '512.*bf16'")
parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
parser.add_argument("--name", help="of the table; default: the accelerator")
parser.add_argument("--quick", action="store_true")


def main() -> None:
    """Run the comparisons chosen, and write the table and the plot."""
    args = parser.parse_args()
    if args.quick:
        args.rounds = 1
    chosen = args.only.split(",") if args.only else DEFAULT[args.accelerator]
    if unknown := set(chosen) - set(ALL):
        sys.exit(f"--only={','.join(unknown)} is unknown: choose of {','.join(ALL)}")
    if set(chosen) & set(whole_epochs.OF_FILES) and not args.images_project:
        sys.exit("Image files need --images-project: a bake with starting_point=images")
    results = args.results / f"{args.name or args.accelerator}.md"
    with tempfile.TemporaryDirectory() as scratch:
        data_dir, kind = find_or_make(args.data_dir or args.project / "data", Path(scratch))
        settings = (args.accelerator, args.quick, args.match)
        runner = Runner(args.project.resolve(), data_dir.resolve(), Path(scratch), *settings)
        of_files = runner
        if args.images_project:
            cache = (args.data_dir or args.project / "data").resolve() / "generated"
            images = args.images_project.resolve()
            of_files = Runner(images, cache, Path(scratch, "images"), *settings)
        rows, growth = [], []
        for name in chosen:
            print(f"{name} ...", flush=True)
            found = ALL[name](of_files if name in whole_epochs.OF_FILES else runner, args.rounds)
            (growth if name == "growth" else rows).extend(found)
            report.write(results, args.accelerator, kind, rows, growth)


if __name__ == "__main__":
    main()
