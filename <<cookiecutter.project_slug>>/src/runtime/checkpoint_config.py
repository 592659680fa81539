"""The configuration inside a checkpoint: what it may call, and what is rebuilt from it.

The project's own YAML is as trusted as its code. A checkpoint may come from somebody else: of its
configuration only the nodes `data` and `model` are built, from targets that the project's own YAML
names, or from classes of a few bases in a few packages. Functions and methods are refused: many
of them read pickles or write files.
"""

import inspect
import re
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from src.runtime.checkpoints import CONFIG_KEY, read_checkpoint, rename_compiled_weights
from src.runtime.project import CONFIGS, ConfigError, default_log_dir, import_object, instantiate
from src.runtime.run_folder import find_checkpoint

PACKAGES = ("torch.", "torchvision.", "torchmetrics.", "lightning.", "src.data.", "src.models.")
# Metrics, LightningModules and torchvision's transforms are modules too.
BASES = (nn.Module, Optimizer, LRScheduler, LightningDataModule)
ENVIRONMENT_VARIABLE = re.compile(r"\$\{oc\.env:[^${}]*\}")  # the one interpolation that is kept


def config_from_checkpoint(cfg: DictConfig) -> DictConfig:
    """Return a copy of `cfg` completed with data, model and precision from its checkpoint.

    What `cfg` has of its own stays.

    Raises:
        ConfigError: if there is no such checkpoint, or its configuration cannot be used.
    """
    # Lightning misses the callbacks of the training, which only a resumed training needs.
    warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`")
    cfg = cfg.copy()
    cfg.ckpt_path = str(find_checkpoint(cfg.ckpt_path, cfg.paths.log_dir))
    if cfg.get("model"):
        return cfg
    nodes = OmegaConf.create(trusted_config_from_checkpoint(cfg.ckpt_path))
    with open_dict(cfg):
        for key in ("data", "model"):
            cfg[key] = cfg.get(key) or nodes.get(key)
        cfg.trainer = OmegaConf.merge(nodes.get("trainer", {}), cfg.get("trainer") or {})
    return cfg


def load_model(path: str | Path) -> LightningModule:
    """Load a model from a checkpoint file, in evaluation mode.

    Args:
        path: the file, the folder of a run (its best checkpoint), or `best` or `last` of the
            newest run.

    Raises:
        ConfigError: if there is no such checkpoint, or it cannot be used.
    """
    file = find_checkpoint(str(path), default_log_dir())
    model = instantiate(OmegaConf.create(trusted_config_from_checkpoint(file)["model"]))
    restore_for_eval(model, file)
    return model


def restore_for_eval(model: LightningModule, path: str | Path, datamodule: Any = None) -> None:
    """Load a checkpoint's weights, set evaluation mode, and restore the datamodule's state.

    Args:
        model: the one that the checkpoint was written for.
        path: the checkpoint file.
        datamodule: the one that the model was trained with, if its state is wanted.

    Raises:
        ConfigError: if the checkpoint cannot be read.
    """
    checkpoint = read_checkpoint(path)
    model.configure_model()  # some modules build their layers there
    model.on_load_checkpoint(checkpoint)
    rename_compiled_weights(model, checkpoint["state_dict"])
    model.load_state_dict(checkpoint["state_dict"], strict=model.strict_loading)
    model.eval()
    if state := checkpoint.get(type(datamodule).__qualname__):  # where Lightning stores it
        datamodule.load_state_dict(state)


def trusted_config_from_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return a checkpoint's `data`, `model` and precision config; reject unsafe targets.

    Raises:
        ConfigError: if the file cannot be read, holds no configuration, or would call what is not
            trusted.
    """
    config = read_checkpoint(path).get(CONFIG_KEY)
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        raise ConfigError(f"{path} holds no configuration. To take its weights: init_from=PATH")
    nodes = {key: checked_node_copy(config.get(key), key) for key in ("data", "model")}
    precision = (config.get("trainer") or {}).get("precision")
    if isinstance(precision, (str, int)):
        nodes["trainer"] = {"precision": checked_node_copy(precision, "trainer.precision")}
    return {key: node for key, node in nodes.items() if node is not None}


def checked_node_copy(node: Any, key: str) -> Any:
    """Return a copy of a node, with its targets checked and its interpolations escaped.

    Raises:
        ConfigError: naming the first `_target_`, at any depth, that may not be called, and how to
            allow it.
    """
    if isinstance(node, dict):
        if "_target_" in node and not _is_trusted(node["_target_"]):
            allowed = "no module, optimizer, scheduler or datamodule of torch or this project"
            advice = f"If you trust it, add to a file of configs/: _target_: {node['_target_']}"
            problem = f"{key}._target_ of the checkpoint may not be called: it is {allowed}"
            raise ConfigError(f"{problem}. {advice}")
        return {name: checked_node_copy(child, f"{key}.{name}") for name, child in node.items()}
    if isinstance(node, (list, tuple)):
        return [checked_node_copy(child, f"{key}[{index}]") for index, child in enumerate(node)]
    if isinstance(node, str) and not ENVIRONMENT_VARIABLE.fullmatch(node):
        # A backslash before it would escape the escape: each is doubled.
        return re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + "\\${", node)
    return node


@cache
def targets_in_config_files() -> frozenset[str]:
    """Return every `_target_` that the YAML files in `configs/` contain."""
    pattern = re.compile(r"""(?:^|[{,]|-\s)\s*["']?_target_["']?:\s*["']?([\w.]+)""", re.MULTILINE)
    texts = [file.read_text(encoding="utf-8") for file in CONFIGS.rglob("*.yaml")]
    return frozenset(pattern.findall("\n".join(texts)))


def _is_trusted(target: Any) -> bool:
    if not isinstance(target, str):
        return False
    if target in targets_in_config_files():
        return True
    if not target.startswith(PACKAGES):  # before anything is imported
        return False
    try:
        found = import_object(target)
    except Exception:  # whatever the import of a module raises
        return False
    # The object decides, not the text: `torch.nn.modules.module.torch.load` is `torch.load`.
    is_class = inspect.isclass(found) and issubclass(found, BASES)
    return is_class and f"{found.__module__}.".startswith(PACKAGES)
