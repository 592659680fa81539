"""Start a model from the weights of another run, of a net, or of a file from elsewhere."""

import logging
import re
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from src.runtime.checkpoints import read_checkpoint
from src.runtime.project import PROJECT_ROOT, ConfigError
from src.runtime.run_folder import find_checkpoint

log = logging.getLogger(__name__)

# What wrappers put before the names of a net's weights; torch.compile inserts its own anywhere.
WRAPPERS = re.compile(r"^(?:(?:model|net|module|_orig_mod)\.)+|\b_orig_mod\.")


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
    content = _read(find_checkpoint(str(path), PROJECT_ROOT / "logs", "init_from"))
    content = content.get("state_dict") or content.get("model") or content
    weights = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    own = {name: v for name, v in model.state_dict().items() if isinstance(v, Tensor)}
    own_names = {WRAPPERS.sub("", name): name for name in own}
    fitting: dict[str, Tensor] = {}
    unused = []
    for name, value in weights.items():
        target = name if name in own else own_names.get(WRAPPERS.sub("", name))
        if target and own[target].shape == value.shape:
            fitting[target] = value
        else:
            unused.append(f"{name} {tuple(value.shape)}")
    missing = [f"{name} {tuple(own[name].shape)}" for name in own if name not in fitting]
    if not fitting:
        raise ConfigError(
            f"init_from={path}: none of its weights fits the model. The file has "
            f"{', '.join(unused[:3]) or 'none'}; the model has {', '.join(missing[:3])}"
        )
    model.load_state_dict(fitting, strict=False)
    summary = f"{len(fitting)} of the model's {len(own)} weights come from {path}"
    log.info("init_from: %s", summary)
    for names, what in ((missing, "stay as initialized"), (unused, "in the file are not used")):
        if names:
            log.warning("init_from: %d %s: %s", len(names), what, ", ".join(names[:3]))
    return summary


def _read(path: Path) -> dict[str, Any]:
    if path.suffix != ".safetensors":
        return read_checkpoint(path)
    try:
        from safetensors.torch import load_file  # not a dependency of the project

        return load_file(path)
    except Exception as error:  # also its own, which is no OSError
        raise ConfigError(f"{path} cannot be read: {error}") from error
