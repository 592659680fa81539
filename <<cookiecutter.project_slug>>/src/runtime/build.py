"""From a configuration to the objects of a run: everything is a `_target_` node."""

from typing import Any, TypedDict

from hydra.utils import instantiate
from lightning.pytorch import (
    Callback,
    LightningDataModule,
    LightningModule,
    Trainer,
    seed_everything,
)
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from src.runtime import console, tracking
from src.runtime.checkpoints import ConfigInCheckpoint
from src.runtime.extras import check_installed
from src.runtime.plain_config import to_plain
from src.runtime.trackers import guarded


class Objects(TypedDict):
    """What a run is made of."""

    cfg: DictConfig
    datamodule: LightningDataModule
    model: LightningModule
    callbacks: list[Callback]
    loggers: list[Logger]
    trainer: Trainer


def build(cfg: DictConfig) -> Objects:
    """Show the configuration, seed the random generators, and instantiate each part.

    Raises:
        hydra.errors.InstantiationException: where a node does not fit its `_target_`.
    """
    check_installed(node.get("_target_", "") for node in (cfg.get("logger") or {}).values())
    plain = to_plain(cfg)
    console.print_config(plain)
    if cfg.get("seed") is not None:
        seed_everything(cfg.seed, workers=True, verbose=False)
    datamodule = _instantiate(cfg.data)
    model = _instantiate(cfg.model)
    callbacks = [_instantiate(node) for node in (cfg.get("callbacks") or {}).values()]
    loggers = [guarded(_instantiate(node)) for node in (cfg.get("logger") or {}).values()]
    callbacks += [ConfigInCheckpoint(plain), *tracking.callbacks(plain, loggers)]
    # An empty list would give Lightning's default logger; False gives none.
    trainer = _instantiate(cfg.trainer, callbacks=callbacks, logger=loggers or False)
    return Objects(
        cfg=cfg,
        datamodule=datamodule,
        model=model,
        callbacks=callbacks,
        loggers=loggers,
        trainer=trainer,
    )


def _instantiate(node: DictConfig, **kwargs: Any) -> Any:
    # Plain lists and dicts, not OmegaConf's: they end up in checkpoints, which hold plain data.
    return instantiate(node, _convert_="all", **kwargs)
