"""Trackers that are installed only where they are wanted."""

from collections.abc import Iterable
from importlib.util import find_spec

# By the name that ends a logger's `_target_`: the module that it imports, and the extra of
# pyproject.toml that installs it.
EXTRAS = {
    "TensorBoardLogger": ("tensorboard", "tensorboard"),
    "WandbLogger": ("wandb", "wandb"),
    "CometLogger": ("comet_ml", "comet"),
    "JournalMLFlowLogger": ("mlflow", "mlflow"),
}


def check_installed(targets: Iterable[str]) -> None:
    """Refuse a tracker that is not installed.

    Raises:
        ValueError: with the command that installs it.
    """
    for target in targets:
        module, extra = EXTRAS.get(target.rpartition(".")[2], (None, None))
        if module and find_spec(module) is None:
            raise ValueError(
                f"{target} needs {module}, which is not installed. Install it: "
                f"uv sync --extra {extra}   (without uv: pip install {module.replace('_', '-')})"
            )
