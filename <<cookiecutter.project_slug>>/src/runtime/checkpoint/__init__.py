"""Checkpoints: what is in them, how they are written, found and gone on from."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule


def load_model(path: str | Path) -> "LightningModule":
    """Rebuild the model of a checkpoint; see `checkpoints.load_model`, which imports torch."""
    from src.runtime.checkpoint import checkpoints

    return checkpoints.load_model(path)
