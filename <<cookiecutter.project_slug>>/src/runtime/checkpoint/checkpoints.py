"""Checkpoints that stand alone: weights, and the configuration to rebuild the model from."""

import logging
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from omegaconf import OmegaConf

from src.runtime.checkpoint import checkpoint_io, checkpoint_paths
from src.runtime.config.plain_config import flatten
from src.runtime.identity import PROJECT_ROOT
from src.runtime.instantiate import instantiate

log = logging.getLogger(__name__)

CONFIG_KEY = "config"


class ConfigInCheckpoint(Callback):
    """Put the run's configuration, as plain data, into each checkpoint that it writes."""

    def __init__(self, plain_config: dict[str, Any]) -> None:
        self.plain_config = plain_config

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the configuration."""
        checkpoint[CONFIG_KEY] = self.plain_config

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Say what differs from the configuration that the checkpoint was written under."""
        parts = ("data.", "model.", "trainer.precision")  # what evaluation takes from it
        if trainer.state.fn == TrainerFn.FITTING:
            parts = ("data.", "model.", "trainer.", "callbacks.", "seed")
        before = flatten(checkpoint.get(CONFIG_KEY, {}))
        after = flatten(self.plain_config)
        for key in sorted(before.keys() | after.keys()):
            if key.startswith(parts) and before.get(key) != after.get(key):
                log.warning(
                    "%s: %s in the checkpoint, now %s", key, before.get(key), after.get(key)
                )


def load(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint of this project to the CPU; runs no code that it may hold.

    Raises:
        ValueError: if it cannot be read, or holds no configuration.
    """
    checkpoint = checkpoint_io.read(path)
    if CONFIG_KEY not in checkpoint:
        raise ValueError(f"{path} holds no configuration: it was not written by this project")
    return checkpoint


def load_model(path: str | Path) -> LightningModule:
    """Rebuild the model of a checkpoint, in evaluation mode, from nothing but the file.

    Args:
        path: the file; or what else `ckpt_path` may be, such as the folder of a run, or `best`.

    Raises:
        ValueError: if there is no such file, it is no good, or holds no configuration.
    """
    checkpoint = load(checkpoint_paths.find(str(path), PROJECT_ROOT / "logs"))
    model: LightningModule = instantiate(OmegaConf.create(checkpoint[CONFIG_KEY])["model"])
    model.load_state_dict(checkpoint["state_dict"])
    return model.eval()


def load_weights(model: LightningModule, path: str | Path) -> None:
    """Load the weights of a checkpoint that a model has a place for, and say which are not.

    Raises:
        ValueError: if the checkpoint cannot be read, or none of its weights fits.
    """
    weights = checkpoint_io.read(path)["state_dict"]
    own = model.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and v.shape == own[k].shape}
    if not fitting:
        raise ValueError(f"init_from={path}: none of its {len(weights)} weights fits the model")
    for key in sorted(own.keys() | weights.keys()):
        if key not in weights:
            log.warning("init_from: %s is not in the checkpoint and stays as it was", key)
        elif key not in own:
            log.warning("init_from: %s is not in the model and is left out", key)
        elif key not in fitting:
            log.warning(
                "init_from: %s is %s in the checkpoint but %s in the model, and stays as it was",
                key,
                tuple(weights[key].shape),
                tuple(own[key].shape),
            )
    model.load_state_dict(fitting, strict=False)
    log.warning("init_from: %d of %d weights come from %s", len(fitting), len(own), path)
