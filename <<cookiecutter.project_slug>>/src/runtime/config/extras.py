"""What is installed only where it is wanted: trackers, plugins of Hydra, formats to export to."""

from collections.abc import Iterable, Sequence
from importlib.util import find_spec

# By the name that ends a logger's `_target_`: the module that it imports, and the extra of
# pyproject.toml that installs it.
EXTRAS = {
    "TensorBoardLogger": ("tensorboard", "tensorboard"),
    "WandbLogger": ("wandb", "wandb"),
    "JournalMLFlowLogger": ("mlflow", "mlflow"),
}

PRE_RELEASE = (
    'uv pip install --prerelease allow "hydra-core==1.4.0rc3" "hydra-ax-sweeper==1.4.0rc3"'
)
# By the override that chooses it: the plugin, and the command that installs it.
PLUGINS = {
    "hydra/launcher=joblib": ("hydra_joblib_launcher", "uv sync --extra joblib"),
    "hydra/launcher=submitit_local": ("hydra_submitit_launcher", "uv sync --extra submitit"),
    "hydra/launcher=submitit_slurm": ("hydra_submitit_launcher", "uv sync --extra submitit"),
    "hydra/launcher=ray": ("hydra_ray_launcher", "uv sync --extra ray"),
    "hydra/sweeper=ax": ("hydra_ax_sweeper", PRE_RELEASE),
    "common/search=mnist_ax": ("hydra_ax_sweeper", PRE_RELEASE),
}


def check_plugins(arguments: Sequence[str]) -> None:
    """Refuse a launcher or sweeper that is not installed.

    Raises:
        ValueError: with the command that installs it.
    """
    if {"--cfg", "-c"} & set(arguments):  # runs nothing
        return
    for argument in arguments:
        plugin, command = PLUGINS.get(argument, (None, None))
        if plugin and find_spec(f"hydra_plugins.{plugin}") is None:
            raise ValueError(f"{argument} needs {plugin}, which is not installed: {command}")


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


# By the format of src/export.py: the extra of pyproject.toml, and the modules that it needs.
EXPORTS = {
    "onnx": ("export", ("onnx", "onnxscript", "onnxruntime")),
    "torch_export": ("", ()),
    "mlflow": ("mlflow", ("mlflow",)),
}


def check_export_installed(format: str) -> None:
    """Refuse a format that is unknown, or that needs what is not installed.

    Raises:
        ValueError: with the command that installs it.
    """
    if format not in EXPORTS:
        raise ValueError(f"format={format} is unknown: choose one of {', '.join(EXPORTS)}")
    extra, modules = EXPORTS[format]
    if missing := [module for module in modules if find_spec(module) is None]:
        raise ValueError(
            f"format={format} needs {', '.join(missing)}, which is not installed. Install it: "
            f"uv sync --extra {extra}   (without uv: pip install {' '.join(missing)})"
        )
