"""What `--help` prints: the commands of an entry point, and what can be chosen."""

import ast
import shutil
import textwrap

from src.runtime.config import overrides


def help_text(task: str) -> str:
    """Return the docstring of `src/TASK.py`, and each config group with its choices."""
    source = overrides.CONFIGS.parent.joinpath("src", f"{task}.py").read_text(encoding="utf-8")
    words = overrides.words(task)
    width = max(map(len, words)) + 3
    columns = max(60, shutil.get_terminal_size().columns)
    lines = [ast.get_docstring(ast.parse(source)) or "", "", "Groups to choose from:"]
    for word, choices in words.items():
        lines += textwrap.wrap(
            f"{word + '=':<{width}}{', '.join(choices)}",
            columns - 4,
            subsequent_indent=" " * width,
        )
    lines += [
        "",
        "Any other value: KEY=VALUE; +KEY=VALUE adds a key, ~KEY removes one.",
        "The configuration: --cfg job   Its files: --info defaults   Several jobs: -m",
        "Hydra's own: --hydra-help",
        f'Completion: eval "$(python src/{task}.py -sc install=bash)"   (or zsh; fish: | source)',
    ]
    return "\n".join(lines)
