"""Checkpoints that stand alone: weights, and the configuration to rebuild the model from."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import OmegaConf

from src.runtime import checkpoint_io
from src.runtime.instantiate import instantiate

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

    Raises:
        ValueError: if there is no such file, or no configuration in it.
    """
    checkpoint = load(path)
    model: LightningModule = instantiate(OmegaConf.create(checkpoint[CONFIG_KEY])["model"])
    model.load_state_dict(checkpoint["state_dict"])
    return model.eval()
