"""Start a dataset, a model or an experiment of your own: files that run and pass, to be changed.

python src/new.py data my_data              # a datamodule, its config and its test
python src/new.py model my_model            # a net, its config and its test
python src/new.py experiment my_experiment  # a config; tests/test_train.py runs every experiment
"""

import argparse
import keyword
import re
import sys
from pathlib import Path

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from src.runtime.verb.scaffold import KINDS, NEXT

ROOT = Path(__file__).resolve().parents[1]


def write(kind: str, name: str, root: Path = ROOT) -> list[Path]:
    """Write the files of a new part of the project and return their paths.

    Raises:
        ValueError: if the name cannot be a module's, or one of the files is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ValueError(f"{name} cannot name a module: use lower-case letters, digits and _")
    files = {root / fill(path, name): fill(text, name) for path, text in KINDS[kind].items()}
    for path in files:
        if path.exists():
            raise ValueError(f"{path.relative_to(root)} is there already: choose another name")
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return list(files)


def fill(text: str, name: str) -> str:
    """Put a name into a text of `src/runtime/verb/scaffold.py`."""
    return text.replace("NAME", name).replace("CLASS", name.title().replace("_", ""))


def main() -> None:
    """Write what the command line asks for, and say what to type next."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("name", help="lower-case letters, digits and _")
    arguments = parser.parse_args()
    try:
        paths = write(arguments.kind, arguments.name)
    except ValueError as error:
        sys.exit(f"Error: {error}")
    for path in paths:
        print("wrote", path.relative_to(ROOT))
    print("Next:", fill(NEXT[arguments.kind], arguments.name))


if __name__ == "__main__":
    main()
