"""How soon the command line answers, against `import hydra`: all take turns in one run.

Wall clock, and processor time, which means something on a busy machine too.

python benchmarks/command_line.py PROJECT [--rounds 12]

PROJECT is a baked project; run this with its environment, best with all its extras installed.
"""

import argparse
import os
import resource
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


def seconds(name: str, project: Path, empty: Path) -> tuple[float, float]:
    """Return how long a command takes by the clock, and how much of a processor."""
    arguments = [str(empty) if a == "EMPTY" else a for a in COMMANDS[name][0]]
    environment = os.environ | {"COMP_LINE": LINES.get(name, "")}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], cwd=project, env=environment, capture_output=True, check=False
    )
    clock, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def shown(values: list[float], base: list[float]) -> str:
    """Return the median of the ratios, the smallest and the largest."""
    ratios = [value / b for value, b in zip(values, base, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    """Print a table of ratios: by the clock, and of processor time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--rounds", type=int, default=12)
    args = parser.parse_args()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY, encoding="utf-8")
        for turn in range(args.rounds + 1):
            for name, values in taken.items():
                value = seconds(name, args.project, empty)
                if turn:  # the first round fills the caches
                    values.append(value)
    print(f"{args.rounds} rounds\n\n| answer to | goal | clock | processor |\n|---|---|---|---|")
    base = list(zip(*taken["import hydra"], strict=True))
    for name, values in taken.items():
        ratios = [
            shown(list(v), list(b)) for v, b in zip(zip(*values, strict=True), base, strict=True)
        ]
        print(f"| `{name}` | {COMMANDS[name][1]} | {ratios[0]} | {ratios[1]} |")
    print("\n`import hydra`:", *(f"{statistics.median(kind):.2f} s" for kind in base))


if __name__ == "__main__":
    main()
