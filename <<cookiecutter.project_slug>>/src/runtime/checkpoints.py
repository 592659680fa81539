"""Checkpoint files: plain data with the run's configuration, written whole or not at all."""

import dataclasses
import datetime
import enum
import io
import logging
import os
import pickle
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from omegaconf import Container, OmegaConf
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from src.runtime.project import ConfigError, atomic_file
from src.runtime.run_folder import Claim

log = logging.getLogger(__name__)

CONFIG_KEY = "config"
PLAIN = {
    *(str, bytes, bool, int, float, complex, type(None)),
    *(torch.dtype, torch.device, torch.Size, Tensor, nn.Parameter),
}
LEFT_OUT = object()
COMPILED = "_orig_mod."  # what `torch.compile` puts before the names of weights


class PlainCheckpointIO(TorchCheckpointIO):
    """Write checkpoints that `torch.load(weights_only=True)` reads, with the configuration.

    What is not plain data is converted or left out, and reported in one line.

    Args:
        config: the run's configuration, plain data; stored under `config`.
        claim: of the run folder; a run that has lost it writes nothing.
    """

    def __init__(self, config: dict[str, Any], claim: Claim | None = None) -> None:
        super().__init__()
        self.config = config
        self.claim = claim
        self._reported: set[str] = set()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint. A file that cannot be written is reported, and training goes on.

        Raises:
            ConfigError: if another process has taken over the run.
        """
        if self.claim is not None and self.claim.lost():
            raise ConfigError(f"{path} is not written: another process has taken over this run")
        changes: dict[str, str] = {}
        plain: dict[str, Any] = to_plain_data(checkpoint, changes.__setitem__)
        if new := changes.keys() - self._reported:
            self._reported |= new
            text = ", ".join(f"{key} {what}" for key, what in changes.items() if key in new)
            log.warning("Checkpoints hold plain data: %s", text)
        if "state_dict" in checkpoint:  # else bare weights, which `ddp_spawn` hands back
            plain[CONFIG_KEY] = self.config
        if "://" in str(path):  # a remote store: no renaming there
            super().save_checkpoint(plain, path, storage_options)
            return
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as file:
                torch.save(plain, file)
        except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
            log.error("%s was not written (%s); the checkpoint before it is whole", path, error)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint as `read_checkpoint` does."""
        return read_checkpoint(path, map_location)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the claim, whose heartbeat thread stays with the main process."""
        return self.__dict__ | {"claim": None}


def to_plain_data(value: Any, report: Callable[[str, str], None], key: str = "") -> Any:
    """Return `value` as plain data: what `torch.load(weights_only=True)` reads.

    Args:
        value: anything; mappings and sequences are converted at any depth.
        report: called with the key of what is converted or left out, and what becomes of it.
        key: where `value` stands.
    """
    if type(value) in PLAIN:
        return value
    if isinstance(value, Container):
        value = OmegaConf.to_container(value, resolve=not OmegaConf.missing_keys(value))
    if isinstance(value, Mapping):
        kept = OrderedDict() if isinstance(value, OrderedDict) else {}
        for name, item in value.items():
            plain = to_plain_data(item, report, f"{key}.{name}".lstrip("."))
            if plain is not LEFT_OUT:
                kept[_plain_key(name)] = plain
        if isinstance(value, OrderedDict):  # such as the versions in a state_dict
            for name, attribute in vars(value).items():
                setattr(kept, name, to_plain_data(attribute, report, key))
        return kept
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        items = [to_plain_data(item, report, f"{key}[{i}]") for i, item in enumerate(value)]
        items = [None if item is LEFT_OUT else item for item in items]
        return tuple(items) if isinstance(value, tuple) else items
    plain = _converted(value)
    if plain is LEFT_OUT and _loads(value):
        return value
    if plain is LEFT_OUT:
        report(key, f"is left out ({type(value).__name__} is no plain data)")
        return LEFT_OUT if key else None
    report(key, f"is stored as {type(plain).__name__}")
    return to_plain_data(plain, report, key)


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint; no code that it may hold is run.

    Raises:
        ConfigError: if there is no such file, it is damaged, or it holds more than plain data.
    """
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist: give the path of a .ckpt file") from error
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"{path} is damaged, or holds more than plain data; nothing in it was run: "
            f"{_first_line(error)}"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path} is damaged: {_first_line(error)}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is no checkpoint: it holds a {type(content).__name__}")
    return content


def is_readable(path: str | Path) -> bool:
    """Return whether a checkpoint can be read, without reading its tensors."""
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever a damaged file raises
        log.warning("%s cannot be read (%s)", path, _first_line(error))
        return False
    return os.path.getsize(path) > 0


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def fit_compiled_names(module: nn.Module, weights: dict[str, Any], *unused: Any) -> None:
    """Rename weights in place, so that they fit whether or not a part of the model is compiled.

    To be used with `register_load_state_dict_pre_hook`.
    """
    names = [name for name, _ in module.named_parameters()]
    if any(COMPILED in name for name in [*names, *weights]):
        own = {name.replace(COMPILED, ""): name for name in module.state_dict()}
        for name in list(weights):
            plain = name.replace(COMPILED, "")
            weights[own.get(plain, name)] = weights.pop(name)


def _plain_key(key: Any) -> Any:
    plain = to_plain_data(key, lambda *_: None, "key")
    return str(key) if plain is LEFT_OUT or isinstance(plain, list) else plain


def _converted(value: Any) -> Any:
    """Return simpler data for an object of a known kind, LEFT_OUT for another."""
    if isinstance(value, (np.generic, np.ndarray)):
        return _from_numpy(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, Tensor) and not is_lazy(value) and not _loads(value):
        return value.as_subclass(Tensor)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    kinds = [kind for kind in (str, bytes, int, float) if isinstance(value, kind)]
    return kinds[0](value) if kinds else LEFT_OUT


def _from_numpy(value: np.generic | np.ndarray) -> Any:
    """Return a number, or a tensor; for an array of other things a list."""
    if isinstance(value, np.floating):
        return float(value)
    try:
        tensor = torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
    except TypeError:  # text, dates, objects
        return value.tolist()
    return tensor if isinstance(value, np.ndarray) else tensor.item()


def _loads(value: Any) -> bool:
    """Return whether `value` can be saved and read back as plain data."""
    try:
        buffer = io.BytesIO()
        torch.save(value, buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    except Exception:  # whatever its own pickling raises
        return False
    return True
