"""Say what a command would build and where each value comes from; train nothing.

python src/explain.py experiment=mon_experience model.optimizer.lr=0.01
"""

import logging
import sys
from pathlib import Path

if not __package__:  # run as a script: `src` itself lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict
from rich.console import Console
from rich.table import Table

from src.runtime import cli
from src.runtime.config import config_sources, guards, overrides
from src.runtime.config.plain_config import flatten, to_plain
from src.runtime.identity import PROJECT_ROOT

NO_RUN = "paths.output_dir=RUN_DIRECTORY"  # there is none


def explain(arguments: list[str], console: Console) -> None:
    """Print the values with their files, then the sizes of what they build.

    Args:
        arguments: what would follow `python src/train.py`.
        console: where to print.

    Raises:
        ValueError: for a mistake in the configuration, or in what it builds.
    """
    overrides.check(arguments)
    cfg = cli.compose("train", NO_RUN, *arguments)
    composed_of = config_sources.sources("train", arguments)
    parts = ("data", "model", "trainer", "callbacks", "logger", "seed", "optimized_metric")
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    guards.check_config(cfg)
    table = Table("key", "value", "from")
    for key, value in flatten({k: v for k, v in to_plain(cfg).items() if k in parts}).items():
        table.add_row(key, str(value), origin(key, arguments, composed_of))
    console.print(table)

    from src.runtime.verb import estimate

    for name, text in estimate.sizes(cfg).items():
        console.print(f"[bold]{name:<12}[/bold]", text, highlight=False)


def origin(key: str, arguments: list[str], composed_of: list[config_sources.Source]) -> str:
    """Return the override or the file that gives a key its value."""
    for argument in reversed(arguments):
        name = argument.partition("=")[0].lstrip("+~")
        is_group = (overrides.CONFIGS / name.partition("@")[0]).is_dir()
        if not is_group and (key == name or key.startswith(f"{name}.")):
            return f"command line: {argument}"
    path = config_sources.file_of(key, composed_of)
    return str(path.relative_to(PROJECT_ROOT)) if path else ""


def main() -> None:
    """Explain the command line; exit with 1 and a line on a mistake."""
    if set(sys.argv[1:]) & {"-h", "--help"}:
        print(__doc__)
        return
    # Nothing runs: Lightning need not say what this machine has, nor what else could be bought.
    warnings_only = logging.StreamHandler()
    warnings_only.setLevel(logging.WARNING)
    logging.basicConfig(handlers=[warnings_only])
    try:
        explain(sys.argv[1:], Console(soft_wrap=True))
    except cli.MISTAKES as error:
        if not cli.is_told(error):
            raise
        cli.fail(error)


if __name__ == "__main__":
    main()
