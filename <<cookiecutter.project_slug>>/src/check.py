"""Check each configuration against the code that it calls, without building or reading anything.

    python src/check.py              # every experiment, every choice of every group
    python src/check.py --schemas    # also write .schemas/*.json, from which editors complete

Exits with 1 if there is a fault; each is named by its file and key. A value that is `???` is none:
the command line gives it.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict
from rich.console import Console
from rich.table import Table

from src.runtime import cli
from src.runtime.config import config_sources, errors, guards, json_schema, overrides
from src.runtime.identity import PROJECT_ROOT

# What the command line or the run itself would give.
GIVEN = {
    "train": ("paths.output_dir=.",),
    "eval": ("paths.output_dir=.", "ckpt_path=x.ckpt"),
    "predict": ("paths.output_dir=.", "ckpt_path=x.ckpt", "input=x.png"),
    "export": ("paths.output_dir=.", "ckpt_path=x.ckpt", "format=onnx"),
    "report": ("paths.output_dir=.",),
}


def compositions() -> Iterator[tuple[str, str]]:
    """Yield each configuration to check: its primary file's name, and an override or nothing."""
    for config_name in GIVEN:
        yield config_name, ""
    for key in cli.compose("train").hydra.runtime.choices:
        group = str(key).partition("@")[0]
        for choice in overrides.groups().get(group, ()):
            yield "train", _pair(choice) if group == "specialize" else f"{key}={choice}"


def _pair(choice: str) -> str:
    """Return the two overrides that a specialisation is for, by its name: `DATA_MODEL`."""
    datas, models = (overrides.groups()[group] for group in ("data", "model"))
    pairs = (f"data={d} model={m}" for d in datas for m in models if f"{d}_{m}" == choice)
    return next(pairs, f"specialize={choice}")


def faults(config_name: str, override: str) -> list[tuple[str, str]]:
    """Return the faults of a configuration, each with the file that it lies in."""
    given = [*GIVEN[config_name], *override.split()]
    chosen, _, choice = override.partition("=")
    file = f"configs/{chosen.partition('@')[0]}/{choice}.yaml" if override else config_name
    try:
        cfg = cli.compose(config_name, *given)
        HydraConfig.instance().set_config(cfg)
        with open_dict(cfg):
            del cfg["hydra"]
    except cli.MISTAKES as error:
        return [(file, errors.explain(error))]
    found = []
    composed_of = None
    for sentence in guards.faults(cfg):
        composed_of = composed_of or config_sources.sources(config_name, given)
        key = sentence.partition(" ")[0].partition("=")[0].rstrip(":")
        path = config_sources.file_of(key, composed_of)
        found.append((str(path.relative_to(PROJECT_ROOT)) if path else file, sentence))
    return found


def main() -> int:
    """Print a table of what was checked, then each fault once; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--schemas", action="store_true", help="write .schemas/*.json for editors")
    arguments = parser.parse_args()

    console = Console(soft_wrap=True)
    table = Table("configuration", "override", "faults")
    distinct: dict[tuple[str, str], None] = {}
    for config_name, override in compositions():
        found = faults(config_name, override)
        distinct |= dict.fromkeys(found)
        table.add_row(f"{config_name}.yaml", override, str(len(found)) if found else "none")
    console.print(table)
    for file, sentence in distinct:
        console.print(f"[red]{file}[/red]: {sentence}", highlight=False)
    if arguments.schemas:
        written = json_schema.write(PROJECT_ROOT / ".schemas")
        console.print(f"{len(written)} schemas in .schemas/")
    return 1 if distinct else 0


if __name__ == "__main__":
    sys.exit(main())
