"""What differs between Hydra 1.3 and 1.4, and OmegaConf 2.3 and 2.4: all of it stands here."""

import inspect
from functools import cache
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra._internal.hydra import Hydra
from hydra.experimental import callback, callbacks
from hydra.types import RunMode
from omegaconf import OmegaConf, _utils, base, grammar_parser

from src.targets import ALLOWED

# 1.3 wants to be told which version's defaults to use. 1.4 warns if it is, and wants to be told
# what it may call from a configuration, which 1.3 does not know.
IS_1_3 = "execution_whitelist" not in inspect.signature(hydra.main).parameters
INITIALIZE: dict[str, Any] = {"version_base": None} if IS_1_3 else {}
MAIN: dict[str, Any] = {"version_base": None} if IS_1_3 else {"execution_whitelist": ALLOWED}
INSTANTIATE: dict[str, Any] = {} if IS_1_3 else {"_execution_whitelist_": ALLOWED}

# OmegaConf 2.3 has a `register_resolver` as well, which is another one.
register_resolver: Any = OmegaConf.register_new_resolver if IS_1_3 else OmegaConf.register_resolver

if IS_1_3 and hasattr(yaml, "CSafeLoader"):  # 2.3 reads and writes YAML in Python: it takes longer
    vars(yaml)["SafeLoader"] = yaml.CSafeLoader
    _of_strings = staticmethod(_utils.OmegaConfDumper.str_representer)
    _content = {"str_representer": _of_strings, "str_representer_added": False}
    vars(_utils)["OmegaConfDumper"] = type("OmegaConfDumper", (yaml.CDumper,), _content)
if IS_1_3:  # and parses an interpolation each time that somebody asks for its value
    vars(base)["parse"] = cache(grammar_parser.parse)


def _mode(self: Hydra, config_name: str | None, overrides: list[str]) -> RunMode | None:
    """Return `hydra.mode`, and compose for it only where something speaks of it.

    1.3 composes everything for it, forgets what did not fit, and composes again to run; 1.4 reads
    the command line and the primary file.
    """
    files = (
        path.read_text(encoding="utf-8")
        for source in self.config_loader.get_sources()
        if source.scheme() == "file"
        for path in Path(source.path).rglob("*.yaml")
    )
    if any("hydra." in text for text in overrides) or any("MULTIRUN" in text for text in files):
        return _composed_mode(self, config_name, overrides)
    return None


_composed_mode: Any = Hydra.get_mode
if IS_1_3:
    Hydra.get_mode = _mode

_Base: Any = getattr(callbacks, "PickleJobInfoCallback", callback.Callback)


class PickleJobInfoCallback(_Base):
    """For `--experimental-rerun` 1.3 reads a pickle that this writes; 1.4 reads `.hydra` alone."""
