"""What differs between Hydra 1.3 and 1.4, and OmegaConf 2.3 and 2.4: all of it stands here."""

import inspect
from typing import Any

import hydra
from hydra.experimental import callback, callbacks
from omegaconf import OmegaConf

from src.targets import ALLOWED

# 1.3 wants to be told which version's defaults to use. 1.4 warns if it is, and wants to be told
# what it may call from a configuration, which 1.3 does not know.
IS_1_3 = "execution_whitelist" not in inspect.signature(hydra.main).parameters
INITIALIZE: dict[str, Any] = {"version_base": None} if IS_1_3 else {}
MAIN: dict[str, Any] = {"version_base": None} if IS_1_3 else {"execution_whitelist": ALLOWED}
INSTANTIATE: dict[str, Any] = {} if IS_1_3 else {"_execution_whitelist_": ALLOWED}

# OmegaConf 2.3 has a `register_resolver` as well, which is another one.
register_resolver: Any = OmegaConf.register_new_resolver if IS_1_3 else OmegaConf.register_resolver

_Base: Any = getattr(callbacks, "PickleJobInfoCallback", callback.Callback)


class PickleJobInfoCallback(_Base):
    """For `--experimental-rerun` 1.3 reads a pickle that this writes; 1.4 reads `.hydra` alone."""
