"""Start a model from the weights of another run, of a net, or of a file from elsewhere."""

import logging
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from src.runtime.checkpoints import read_checkpoint
from src.runtime.project import PROJECT_ROOT, ConfigError
from src.runtime.resume import find_checkpoint

log = logging.getLogger(__name__)

# What wrappers put before the names of a net's weights; torch.compile inserts its own anywhere.
WRAPPERS = re.compile(r"^(?:(?:model|net|module|_orig_mod)\.)+|\b_orig_mod\.")
NAMES_SHOWN = 3


def load_initial_weights(model: nn.Module, path: str | Path) -> str:
    """Copy the weights of a file into a model, wherever name and shape fit, and log the rest.

    Names that differ only in leading `model.`, `net.`, `module.` or `_orig_mod.` count as equal.

    Args:
        model: is changed in place.
        path: a checkpoint of Lightning, a state_dict written by `torch.save`, or a
            `.safetensors` file; the folder of a run (its best checkpoint), or `best` of the newest
            run. Only plain data is read: no code in the file runs.

    Returns:
        A line that says how many weights were copied, and from where.

    Raises:
        ConfigError: if the file cannot be read, or none of its weights fits.
    """
    weights = read_weights(find_checkpoint(str(path), PROJECT_ROOT / "logs"))
    own = {name: v for name, v in model.state_dict().items() if isinstance(v, Tensor)}
    own_names = {WRAPPERS.sub("", name): name for name in own} | {name: name for name in own}
    fitting: dict[str, Tensor] = {}
    unknown = []
    for name, value in weights.items():
        target = own_names.get(name) or own_names.get(WRAPPERS.sub("", name))
        if target is None or own[target].shape != value.shape:
            unknown.append(f"{name} {tuple(value.shape)}")
        else:
            fitting[target] = value
    missing = [f"{name} {tuple(own[name].shape)}" for name in own if name not in fitting]
    if not fitting:
        raise ConfigError(
            f"init_from={path}: none of its weights fits the model. The file has "
            f"{_first(unknown)}; the model has {_first(missing)}"
        )
    model.load_state_dict(fitting, strict=False)
    summary = f"{len(fitting)} of the model's {len(own)} weights come from {path}"
    log.info("init_from: %s", summary)
    if missing:
        log.warning("init_from: %d stay as initialized: %s", len(missing), _first(missing))
    if unknown:
        log.warning("init_from: %d in the file are not used: %s", len(unknown), _first(unknown))
    return summary


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors in a file by name, on the CPU.

    Raises:
        ConfigError: if the file cannot be read, or holds no tensors by name.
    """
    is_safetensors = Path(path).suffix == ".safetensors"
    content: Any = _read_safetensors(path) if is_safetensors else read_checkpoint(path)
    content = content.get("state_dict") or content.get("model") or content
    weights = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not weights:
        raise ConfigError(f"{path} holds no weights: tensors by name are expected")
    return weights


def _read_safetensors(path: str | Path) -> dict[str, Tensor]:
    if find_spec("safetensors") is None:
        raise ConfigError(f"{path} needs another library: pip install safetensors")
    from safetensors import SafetensorError  # not a dependency of the project
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _first(names: list[str]) -> str:
    return ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
