"""Checkpoint files: plain data with the run's configuration, written whole or not at all."""

import copy
import datetime
import enum
import logging
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from omegaconf import Container, OmegaConf
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from src.runtime.project import ConfigError, atomic_write, default_log_dir
from src.runtime.run_folder import Claim, find_checkpoint

log = logging.getLogger(__name__)

CONFIG_KEY = "run_config"
LEFT_OUT = object()
COMPILED = "_orig_mod."  # what `torch.compile` puts before the names of weights
# What wrappers put before the names of a net's weights; torch.compile inserts its own anywhere.
WRAPPERS = re.compile(r"^(?:(?:model|net|module|_orig_mod)\.)+|\b_orig_mod\.")
KINDS: dict[type, Any] = {tuple: tuple, frozenset: tuple, set: set}  # what is hashable stays so
PLAIN = {
    *(str, bytes, bytearray, bool, int, float, complex, type(None)),
    *(torch.dtype, torch.device, torch.Size, Tensor, nn.Parameter),
}


class PlainCheckpointIO(TorchCheckpointIO):
    """Write checkpoints that `torch.load(weights_only=True)` can read.

    What is not plain data is converted or left out, and reported in one line.

    Args:
        config: the run's configuration, plain data; stored under `config`.
        claim: of the run folder; a run that has lost it writes nothing.
    """

    def __init__(self, config: dict[str, Any], claim: Claim | None = None) -> None:
        super().__init__()
        self.config = config
        self.claim = claim
        self._reported: list[str] = []
        self._has_failed = False  # the last attempt to write

    def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint, and log an error if the disk does not allow it.

        Raises:
            ConfigError: if another process has taken over the run.
        """
        if self.claim is not None and self.claim.is_lost():
            raise ConfigError(f"{path} is not written: another process has taken over this run")
        changes: list[str] = []
        plain = to_plain_data(checkpoint, changes)
        if new := [change for change in changes if change not in self._reported]:
            log.warning("Checkpoints hold plain data: %s", ", ".join(new))
            self._reported += new
        if "state_dict" in checkpoint:  # else bare weights, which `ddp_spawn` hands back
            plain[CONFIG_KEY] = self.config
        if "://" in str(path):  # a remote store: no renaming there
            super().save_checkpoint(plain, path, storage_options)
            return
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(Path(path)) as file:
                torch.save(plain, file)
            self._has_failed = False
        except (OSError, RuntimeError) as error:  # torch turns a full disk into the second
            self._has_failed = True
            cause = error.__context__ or error
            log.error("%s was not written (%s); the checkpoint before it is whole", path, cause)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, unless the one that replaces it could not be written."""
        if not self._has_failed:
            super().remove_checkpoint(path)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", *_: Any, **__: Any) -> Any:
        """Load a checkpoint with `weights_only=True`, whatever Lightning asks for.

        Raises:
            ConfigError: if it is not one from which Lightning can continue.
        """
        content = read_checkpoint(path, map_location)
        # Lightning's own `.temp.ckpt` hands back bare weights from spawned processes.
        if "pytorch-lightning_version" not in content and Path(path).name != ".temp.ckpt":
            raise ConfigError(f"{path} holds no training state. For its weights: init_from=PATH")
        return content

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the claim, whose heartbeat thread stays with the main process."""
        return self.__dict__ | {"claim": None}


def to_plain_data(value: Any, changes: list[str], key: str = "") -> Any:
    """Convert a value to types that `torch.load(weights_only=True)` can read.

    Args:
        value: anything; mappings and sequences are converted at any depth.
        changes: gets a line for each key that is converted or left out.
        key: where `value` stands.
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, Container):
        value = OmegaConf.to_container(value, resolve=not OmegaConf.missing_keys(value))
    if isinstance(value, Mapping):
        # A copy of the same kind keeps what hangs on a state_dict: the versions of its layers.
        kept: Any = copy.copy(value) if type(value) in (OrderedDict, Counter) else {}
        kept.clear()
        for name, item in value.items():
            plain = to_plain_data(item, changes, f"{key}.{name}".lstrip("."))
            if plain is not LEFT_OUT:
                plain_name = to_plain_data(name, changes, f"{key}, its key {name}")
                kept[str(name) if plain_name is LEFT_OUT else plain_name] = plain
        return kept
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        items = [to_plain_data(item, changes, f"{key}[{i}]") for i, item in enumerate(value)]
        items = [None if item is LEFT_OUT else item for item in items]
        return next((new for old, new in KINDS.items() if isinstance(value, old)), list)(items)
    for kind, simplified in CONVERSIONS.items():
        if isinstance(value, kind):
            plain = simplified(value)
            changes.append(f"{key} is stored as {type(plain).__name__}")
            return to_plain_data(plain, changes, key)
    changes.append(f"{key} is left out ({type(value).__name__} is no plain data)")
    return LEFT_OUT


def _array_data(array: np.ndarray) -> Any:
    try:
        return torch.from_numpy(array.copy())
    except (TypeError, ValueError):  # text, dates, objects, another order of bytes
        return array.tolist()


# The first kind that fits decides.
CONVERSIONS: dict[Any, Callable[[Any], Any]] = {
    Tensor: lambda tensor: LEFT_OUT if is_lazy(tensor) else tensor.as_subclass(Tensor),
    np.ndarray: _array_data,
    np.floating: float,
    np.generic: np.generic.item,
    enum.Enum: lambda member: member.value,
    (PurePath, datetime.date, datetime.time, datetime.timedelta): str,
    str: str,
}


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Load a checkpoint file with `weights_only=True`, so that it cannot run code.

    Raises:
        ConfigError: if there is no such file, it is damaged, or it holds more than plain data.
    """
    try:
        if str(path).endswith(".safetensors"):
            from safetensors.torch import load_file  # no dependency of the project

            return load_file(path)
        content = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # whatever a damaged file raises
        kind = type(error).__name__  # its text advises to let the file run code
        raise ConfigError(f"{path} is damaged or holds more than plain data ({kind})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is no checkpoint: it holds a {type(content).__name__}")
    return content


def rename_compiled_weights(module: nn.Module, weights: dict[str, Any], *unused: Any) -> None:
    """Rename weights in place to match the module, whether or not it is compiled.

    To be used with `register_load_state_dict_pre_hook`.
    """
    tensors = [*module.named_parameters(), *module.named_buffers()]
    own = {name.replace(COMPILED, ""): name for name, _ in tensors}
    for name in list(weights):
        weights[own.get(name.replace(COMPILED, ""), name)] = weights.pop(name)


def load_initial_weights(model: nn.Module, path: str | Path) -> None:
    """Load the weights that match the model in name and shape, and log the others.

    Names that differ only in leading `model.`, `net.`, `module.` or `_orig_mod.` count as equal.

    Args:
        model: is changed in place.
        path: a checkpoint of Lightning, a state_dict written by `torch.save`, or a `.safetensors`
            file; the folder of a run (its best checkpoint), or `best` of the newest run. Only
            plain data is read: no code in the file runs.

    Raises:
        ConfigError: if the file cannot be read, or none of its weights fits.
    """
    content = read_checkpoint(find_checkpoint(str(path), default_log_dir(), "init_from"))
    content = content.get("state_dict") or content.get("model") or content
    own = model.state_dict()
    own_names = {WRAPPERS.sub("", name): name for name in own}
    fitting: dict[str, Tensor] = {}
    unused = []
    for name, value in content.items():
        target = name if name in own else own_names.get(WRAPPERS.sub("", str(name)))
        if target and isinstance(value, Tensor) and own[target].shape == value.shape:
            fitting[target] = value
        else:
            unused.append(str(name))
    if not fitting:
        raise ConfigError(f"init_from={path}: none of its weights fits the model: {unused[:3]}")
    model.load_state_dict(fitting, strict=False)
    log.info("init_from: %d of the model's %d weights come from it", len(fitting), len(own))
    if missing := [name for name in own if name not in fitting]:
        log.warning("init_from: %d stay as initialized: %s", len(missing), missing[:3])
    if unused:
        log.warning("init_from: %d in the file are not used: %s", len(unused), unused[:3])
