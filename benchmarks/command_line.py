"""How soon the command line answers, against `import hydra`: all take turns in one run.

python benchmarks/command_line.py PROJECT [--rounds 12]

PROJECT is a baked project; run this with its environment, best with all its extras installed.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EMPTY = """
import hydra
@hydra.main(version_base=None, config_path=None)
def main(cfg): pass
main()
"""
TRAIN = "src/train.py"
LINE = f"python {TRAIN} model.optimizer."
COMMANDS = {  # what is typed, and the goal as a multiple of the first
    "import hydra": (["-c", "import hydra"], ""),
    "an empty Hydra app": (["EMPTY", "--cfg", "job"], ""),
    "an empty Hydra app, --help": (["EMPTY", "--help"], ""),
    "--help": ([TRAIN, "--help"], "<= 3"),
    "--cfg job": ([TRAIN, "--cfg", "job"], "<= 2"),
    "a completion of a group": ([TRAIN, "-sc", "query=bash"], "<= 2"),
    "a completion of a key": ([TRAIN, "-sc", "query=bash"], "<= 2"),
    "trainer.max_epoch=3": ([TRAIN, "trainer.max_epoch=3"], "<= 2"),
    "+trainer.max_epoch=3": ([TRAIN, "+trainer.max_epoch=3"], "<= 2"),
    "logger=csv": ([TRAIN, "logger=csv"], "<= 2"),
}
LINES = {"a completion of a group": f"python {TRAIN} common/logg", "a completion of a key": LINE}


def seconds(name: str, project: Path, empty: Path) -> float:
    """Return how long a command takes, from its start to its end."""
    arguments = [str(empty) if a == "EMPTY" else a for a in COMMANDS[name][0]]
    environment = os.environ | {"COMP_LINE": LINES.get(name, "")}
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], cwd=project, env=environment, capture_output=True, check=False
    )
    return time.perf_counter() - start


def main() -> None:
    """Print a table: median of the ratios, the smallest, the largest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--rounds", type=int, default=12)
    args = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY, encoding="utf-8")
        for turn in range(args.rounds + 1):
            for name, values in taken.items():
                value = seconds(name, args.project, empty)
                if turn:  # the first round fills the caches
                    values.append(value)
    base = taken["import hydra"]
    print(f"| answer to | goal | ratio | n={args.rounds} |\n|---|---|---|---|")
    for name, values in taken.items():
        ratios = [value / b for value, b in zip(values, base, strict=True)]
        shown = f"{statistics.median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f}"
        print(f"| `{name}` | {COMMANDS[name][1]} | {shown} |")
    print(f"\n`import hydra`: {statistics.median(base):.2f} s")


if __name__ == "__main__":
    main()
