"""From a configuration to the objects of a run: everything is a `_target_` node."""

import logging
from contextlib import suppress
from typing import Any, TypedDict

from lightning.pytorch import (
    Callback,
    LightningDataModule,
    LightningModule,
    Trainer,
    seed_everything,
)
from lightning.pytorch.callbacks import Checkpoint, ModelSummary, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from omegaconf import DictConfig, OmegaConf, open_dict

from src.runtime.check import explain_wrong_base
from src.runtime.checkpoints import PlainCheckpointIO
from src.runtime.loggers import Journal
from src.runtime.project import ConfigError, instantiate
from src.runtime.run_folder import Claim

log = logging.getLogger(__name__)

# Arguments of the trainer that switch a kind of callback off.
SWITCHES: dict[str, type] = {
    "enable_checkpointing": Checkpoint,
    "enable_progress_bar": ProgressBar,
    "enable_model_summary": ModelSummary,
}


class Objects(TypedDict):
    """What a run is made of; `cfg` is complete, with what the datamodule knows filled in."""

    cfg: DictConfig
    datamodule: LightningDataModule | None
    model: LightningModule
    callbacks: list[Callback]
    loggers: list[Logger]
    trainer: Trainer


def build(cfg: DictConfig, callbacks: list[Callback], claim: Claim | None = None) -> Objects:
    """Seed the random generators, and instantiate each part of a run.

    Args:
        cfg: the run's configuration.
        callbacks: of the runtime, added to those of the configuration.
        claim: of the run folder; without it no checkpoint is written.

    Raises:
        ConfigError: if a node is none, or builds something else than it should.
        hydra.errors.InstantiationException: if a target cannot be called with its arguments.
    """
    if cfg.get("seed") is not None:
        seed_everything(cfg.seed, workers=True, verbose=False)
    datamodule = _built(cfg.get("data"), "data", LightningDataModule)
    cfg = fill_from_datamodule(cfg, datamodule)
    model = _built(cfg.model, "model", LightningModule)
    if model is None:
        raise ConfigError("model: there is none. Choose one: model=NAME")
    configured = [
        _built(node, f"callbacks.{name}", Callback) for name, node in _nodes(cfg, "callbacks")
    ]
    loggers = [_built(node, f"logger.{name}", Logger) for name, node in _nodes(cfg, "logger")]
    trainer, own = _build_trainer(cfg, [c for c in configured if c is not None], loggers, callbacks)
    _use_plain_checkpoints(trainer, plain_config(cfg), claim)
    return Objects(
        cfg=cfg,
        datamodule=datamodule,
        model=model,
        callbacks=own,
        loggers=loggers,
        trainer=trainer,
    )


def fill_from_datamodule(cfg: DictConfig, datamodule: LightningDataModule | None) -> DictConfig:
    """Return a configuration whose `???` in the model are the datamodule's attributes.

    `num_classes: ???` anywhere in the node `model` becomes `datamodule.num_classes`.

    Raises:
        ConfigError: if the datamodule has no attribute of that name, or it is None.
    """
    filled = cfg.copy()
    with open_dict(filled):
        for key in sorted(OmegaConf.missing_keys(filled)):
            if not key.startswith("model."):
                continue
            name = key.rpartition(".")[2]
            value = getattr(datamodule, name, None)
            if value is None:
                kind = type(datamodule).__name__ if datamodule else "data=none"
                raise ConfigError(
                    f"{key} is missing, and {kind} has no attribute {name}: set {key}=VALUE"
                )
            OmegaConf.update(filled, key, list(value) if isinstance(value, tuple) else value)
    return filled


def plain_config(cfg: DictConfig) -> dict[str, Any]:
    """Return a configuration as nested plain data, resolved except for `${oc.env:...}`.

    So no secret of the environment reaches a checkpoint or a tracker.
    """
    escaped = _escape_environment(OmegaConf.to_container(cfg))
    node = OmegaConf.create(escaped)
    resolved = OmegaConf.to_container(node, resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def _escape_environment(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _escape_environment(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_escape_environment(value) for value in node]
    return node.replace("${oc.env:", "\\${oc.env:") if isinstance(node, str) else node


def _built(node: Any, key: str, base: type) -> Any:
    """Return the object of a node, None for an empty one."""
    if node is None or (OmegaConf.is_dict(node) and not node):
        return None
    if not OmegaConf.is_dict(node) or "_target_" not in node:
        raise ConfigError(
            f"{key}={node} is no node with a _target_. To choose a file: {key.partition('.')[0]}="
            "NAME (python src/train.py --help lists the names)"
        )
    found = instantiate(node)
    if not isinstance(found, base):
        raise ConfigError(f"{key}: {explain_wrong_base(found, base)}")
    return found


def _nodes(cfg: DictConfig, group: str) -> list[tuple[str, Any]]:
    """Return names and nodes of a group; a node that was set to null is left out."""
    nodes = cfg.get(group)
    if isinstance(nodes, str):
        raise ConfigError(f"{group}={nodes} is no choice: python src/train.py --help lists them")
    return [(str(name), node) for name, node in (nodes or {}).items() if node is not None]


def _build_trainer(
    cfg: DictConfig, configured: list[Callback], loggers: list[Logger], runtime: list[Callback]
) -> tuple[Trainer, list[Callback]]:
    """Build the trainer; what its own arguments switch off is left out."""
    settings = cfg.trainer
    arguments: dict[str, Any] = {}
    if "callbacks" in settings:  # as in Lightning: a list in place of the group's
        nodes = settings.callbacks or []
        configured = [_built(node, "trainer.callbacks", Callback) for node in nodes]
    if "logger" in settings:
        if settings.logger:
            log.warning("trainer.logger is ignored: choose a tracker by logger=NAME")
        else:
            loggers.clear()
    for switch, kind in SWITCHES.items():
        if settings.get("barebones") or settings.get(switch) is False:
            configured = [c for c in configured if not isinstance(c, kind)]
        is_wanted = any(isinstance(c, kind) for c in configured)
        if kind is not ProgressBar and not is_wanted and not settings.get("barebones"):
            arguments[switch] = settings.get(switch, False)  # no silent default of Lightning's
    callbacks = [*configured, *runtime]
    journal = [] if settings.get("barebones") else [*loggers, Journal(cfg.paths.output_dir)]
    node = {key: value for key, value in settings.items() if key not in ("callbacks", "logger")}
    trainer = instantiate(
        OmegaConf.create(node | arguments), callbacks=callbacks, logger=journal or False
    )
    return trainer, callbacks


def _use_plain_checkpoints(trainer: Trainer, config: dict[str, Any], claim: Claim | None) -> None:
    plain = PlainCheckpointIO(config, claim)
    with suppress(NotImplementedError, TypeError):  # strategies that write a format of their own
        current = trainer.strategy.checkpoint_io
        if type(current) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = plain
        elif type(getattr(current, "checkpoint_io", None)) is TorchCheckpointIO:
            current.checkpoint_io = plain  # a wrapper, such as AsyncCheckpointIO
