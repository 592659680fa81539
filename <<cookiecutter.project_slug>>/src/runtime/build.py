"""From a configuration to the objects of a run: everything is a `_target_` node."""

from contextlib import suppress
from typing import TypedDict

from lightning.pytorch import (
    Callback,
    LightningDataModule,
    LightningModule,
    Trainer,
    seed_everything,
)
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from src.runtime import console, garbage, log_format, signals
from src.runtime.checkpoint.checkpoint_io import AtomicCheckpointIO
from src.runtime.checkpoint.checkpoints import ConfigInCheckpoint
from src.runtime.config.extras import check_installed
from src.runtime.config.plain_config import to_plain
from src.runtime.instantiate import instantiate
from src.runtime.lean import steps
from src.runtime.process import distributed
from src.runtime.tracker import tracking
from src.runtime.tracker.trackers import guarded


class Objects(TypedDict):
    """What a run is made of."""

    cfg: DictConfig
    datamodule: LightningDataModule
    model: LightningModule
    callbacks: list[Callback]
    loggers: list[Logger]
    trainer: Trainer


@signals.deferred()
def build(cfg: DictConfig) -> Objects:
    """Show the configuration, seed the random generators, and instantiate each part.

    Raises:
        hydra.errors.InstantiationException: where a node does not fit its `_target_`.
    """
    log_format.take_in_lightning()
    distributed.quiet_but_rank_zero()
    trackers = _nodes(cfg, "logger")
    check_installed(node["_target_"] for node in trackers)
    plain = to_plain(cfg)
    console.print_config(plain)
    if cfg.get("seed") is not None:
        seed_everything(cfg.seed, workers=True, verbose=False)
    datamodule = instantiate(cfg.data)
    model = instantiate(cfg.model)
    callbacks = [instantiate(node) for node in _nodes(cfg, "callbacks")]
    loggers = [guarded(instantiate(node)) for node in trackers]
    callbacks += [ConfigInCheckpoint(plain), *tracking.callbacks(plain, loggers)]
    callbacks += [distributed.WholeSetOnce(), distributed.EffectiveBatch()]
    # An empty list would give Lightning's default logger; False gives none.
    trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers or False)
    distributed.check(trainer)
    with suppress(NotImplementedError):  # FSDP and the like write their own
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()
    steps.prepare(trainer, model)
    garbage.take_up()
    return Objects(
        cfg=cfg,
        datamodule=datamodule,
        model=model,
        callbacks=callbacks,
        loggers=loggers,
        trainer=trainer,
    )


def _nodes(cfg: DictConfig, group: str) -> list[DictConfig]:
    # A node that was set to null is left out: callbacks.early_stopping=null
    return [node for node in (cfg.get(group) or {}).values() if node is not None]
