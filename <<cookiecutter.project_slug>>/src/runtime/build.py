"""From a configuration to the objects of a run: everything is a `_target_` node."""

import logging
import os
from contextlib import suppress
from typing import Any, TypedDict

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning_utilities import apply_to_collection
from omegaconf import DictConfig, OmegaConf

from src.runtime.checkpoints import PlainCheckpointIO
from src.runtime.loggers import CSVLogger, JSONLinesLogger
from src.runtime.project import ConfigError, instantiate
from src.runtime.run_folder import Claim

log = logging.getLogger(__name__)

SWITCHES = {"enable_checkpointing": Checkpoint, "enable_progress_bar": ProgressBar}


class Objects(TypedDict):
    """The objects of a run, and its configuration with the values of the datamodule."""

    cfg: DictConfig
    datamodule: pl.LightningDataModule | None
    model: pl.LightningModule
    trainer: pl.Trainer


def build(cfg: DictConfig, callbacks: list[pl.Callback], claim: Claim | None = None) -> Objects:
    """Seed the random generators, and instantiate datamodule, model and trainer.

    Args:
        cfg: the run's configuration.
        callbacks: of the runtime, added to those of the configuration.
        claim: of the run folder; without it no checkpoint is written.

    Raises:
        ConfigError: if a node is none, or builds something else than it should.
        hydra.errors.InstantiationException: if a target cannot be called with its arguments.
    """
    if not torch.cuda.is_available():
        # Lightning makes torch ask NVML for GPUs, which every optimizer step then tries to load.
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
    if precision := cfg.get("float32_matmul_precision"):
        torch.set_float32_matmul_precision(precision)
    if cfg.get("seed") is not None:
        pl.seed_everything(cfg.seed, workers=True, verbose=False)
    datamodule = _built(cfg.get("data"), "data", pl.LightningDataModule)
    cfg = config_filled_from_datamodule(cfg, datamodule)
    model = _built(cfg.model, "model", pl.LightningModule)
    if model is None:
        raise ConfigError("model: there is none. Choose one: model=NAME")
    trainer = _build_trainer(cfg, [*_build_group(cfg, "callbacks", pl.Callback), *callbacks])
    _set_checkpoint_io(trainer, config_as_plain_dict(cfg), claim)
    return Objects(cfg=cfg, datamodule=datamodule, model=model, trainer=trainer)


def config_filled_from_datamodule(cfg: DictConfig, datamodule: Any) -> DictConfig:
    """Return a copy of the configuration, with `???` in the model set from the datamodule.

    `num_classes: ???` anywhere in the node `model` becomes `datamodule.num_classes`.

    Raises:
        ConfigError: if the datamodule has no attribute of that name, or it is None.
    """
    filled = cfg.copy()
    for key in sorted(k for k in OmegaConf.missing_keys(filled) if k.startswith("model.")):
        name = key.rpartition(".")[2]
        value = getattr(datamodule, name, None)
        if value is None:
            kind = type(datamodule).__name__ if datamodule else "data=none"
            raise ConfigError(f"{key} is missing and {kind} has no {name}: set {key}=VALUE")
        OmegaConf.update(filled, key, list(value) if isinstance(value, tuple) else value)
    return filled


def config_as_plain_dict(cfg: DictConfig) -> dict[str, Any]:
    """Return the configuration as a nested dictionary, resolved except for `${oc.env:...}`.

    So no secret of the environment reaches a checkpoint or a tracker.
    """
    escaped = apply_to_collection(
        OmegaConf.to_container(cfg), str, lambda text: text.replace("${oc.env:", "\\${oc.env:")
    )
    resolved: Any = OmegaConf.to_container(OmegaConf.create(escaped), resolve=True)
    return resolved


def _built(node: Any, key: str, base: type) -> Any:
    """Return the object of a node, None for an empty one."""
    if not node:
        return None
    if not OmegaConf.is_dict(node) or "_target_" not in node:
        raise ConfigError(f"{key}={node} has no _target_. Type {key}=NAME, as --help lists them")
    found = instantiate(node)
    if not isinstance(found, base):
        name = f"{type(found).__module__}.{type(found).__name__} is no {base.__name__}"
        raise ConfigError(f"{key}: {name} of Lightning (import lightning.pytorch as pl)")
    return found


def _build_group(cfg: DictConfig, group: str, base: type) -> list[Any]:
    """Return the objects of a group's nodes.

    What is left out: a node that was set to null, and settings of a logger that was not chosen.
    """
    nodes = cfg.get(group)
    if not nodes:
        return []
    if not OmegaConf.is_dict(nodes):
        raise ConfigError(f"{group}={nodes} is no node. Type {group}=NAME, as --help lists them")
    built = []
    for name, node in nodes.items():
        is_chosen = not OmegaConf.is_dict(node) or "_target_" in node
        if is_chosen or group != "logger":
            built.append(_built(node, f"{group}.{name}", base))
    return [found for found in built if found is not None]


def _build_trainer(cfg: DictConfig, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Build the trainer, without the callbacks that its own arguments switch off."""
    settings = dict(cfg.trainer)
    for group in settings.keys() & {"callbacks", "logger"}:
        settings.pop(group)
        log.warning("trainer.%s is ignored. Type %s=none, or the names of files", group, group)
    is_barebones = bool(settings.get("barebones"))
    for switch, kind in SWITCHES.items():
        if is_barebones or settings.get(switch) is False:
            callbacks = [callback for callback in callbacks if not isinstance(callback, kind)]
    if not any(isinstance(callback, Checkpoint) for callback in callbacks):
        settings["enable_checkpointing"] = False  # no silent default of Lightning's
    loggers = _build_group(cfg, "logger", Logger)
    if not any(isinstance(logger, JSONLinesLogger) for logger in loggers):
        is_first = not loggers or isinstance(loggers[0], CSVLogger)  # modules talk to the first one
        loggers.insert(0 if is_first else len(loggers), JSONLinesLogger(cfg.paths.output_dir))
    logger = False if is_barebones else loggers
    return instantiate(OmegaConf.create(settings), callbacks=callbacks, logger=logger)


def _set_checkpoint_io(trainer: pl.Trainer, config: dict[str, Any], claim: Claim | None) -> None:
    with suppress(NotImplementedError, TypeError):  # strategies that write a format of their own
        current = trainer.strategy.checkpoint_io
        # Lightning's own, also inside of a wrapper such as AsyncCheckpointIO; else the user's.
        if type(current) is TorchCheckpointIO or hasattr(current, "checkpoint_io"):
            trainer.strategy.checkpoint_io = PlainCheckpointIO(config, claim)
