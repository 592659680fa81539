"""Draw images with captions and confusion matrices, and send them to the loggers."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

GREEN, RED = (38, 128, 62), (196, 32, 32)
CELL, GAP, CAPTION, COLUMNS = 88, 4, 20, 8  # pixels; images per row
LETTERS = 12  # of a caption or the name of a class
MAX_NAMED_CLASSES = 20  # a larger confusion matrix has no room for names and counts


def labelled_images(batch: Any, number: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the first images `(N, C, H, W)`, C 1 or 3, and labels `(N,)` of a batch.

    Raises:
        Exception: if the batch holds anything else.
    """
    images, labels = batch
    if images.ndim != 4 or images.shape[1] not in (1, 3) or labels.ndim != 1:
        raise ValueError("the batches are not images (B, C, H, W) and labels (B,)")
    return images[:number], labels[:number]


def predict_logits(trainer: Trainer, model: LightningModule, images: Tensor) -> Tensor:
    """Return the logits `(N, K)` of `model(images)`, in the precision of the run.

    Raises:
        Exception: if the model cannot be called with images, or returns anything else.
    """
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        logits = model(images)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError("the model returns no logits (B, K) of classes")
    return logits


def names_of(labels: Iterable[Any], datamodule: Any) -> list[str]:
    """Return the names of classes, from the datamodule's `class_names`, else their numbers."""
    names = dict(enumerate(getattr(datamodule, "class_names", ())))
    return [str(names.get(int(label), int(label))) for label in labels]


def draw_grid(
    images: Tensor, captions: Sequence[str], are_right: Sequence[bool], datamodule: Any
) -> Image.Image:
    """Draw images `(N, C, H, W)` in rows, each above its caption, which is red if not right.

    The datamodule's `mean` and `std`, if it has them, turn the images back into pixel values.
    """
    mean = torch.as_tensor(getattr(datamodule, "mean", 0.0)).view(-1, 1, 1)
    std = torch.as_tensor(getattr(datamodule, "std", 1.0)).view(-1, 1, 1)
    pixels = ((images.detach().float().cpu() * std + mean).clamp(0, 1) * 255).byte()
    arrays = pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    height = -(-len(images) // COLUMNS) * (CELL + CAPTION)
    grid = Image.new("RGB", (COLUMNS * CELL, height), "white")
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default(14)
    for i, array in enumerate(arrays):
        left, top = i % COLUMNS * CELL, i // COLUMNS * (CELL + CAPTION)
        tile = Image.fromarray(array).resize((CELL - GAP, CELL - GAP), Image.Resampling.NEAREST)
        grid.paste(tile, (left, top))
        colour = GREEN if are_right[i] else RED
        draw.text((left, top + CELL), captions[i][:LETTERS], colour, font)
    return grid


def draw_confusion_matrix(counts: Tensor, names: Sequence[str]) -> Image.Image:
    """Draw how often a class (row) was predicted as another (column); counts are int `(K, K)`."""
    cell = max(4, 900 // max(len(names), MAX_NAMED_CLASSES))
    side, margin = cell * len(names), 100
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    cells = Image.fromarray((255 - 180 * shares).byte().numpy())
    picture = Image.new("L", (margin + side, margin + side), 255)
    picture.paste(cells.resize((side, side), Image.Resampling.NEAREST), (margin, margin))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    draw.text((4, 4), "rows: label, columns: prediction", 0, font)
    for row, name in enumerate(names if len(names) <= MAX_NAMED_CLASSES else []):
        middle = margin + row * cell + cell // 2
        draw.text((margin - 4, middle), name[:LETTERS], 0, font, anchor="rm")
        draw.text((middle, margin - 8), name[: LETTERS // 2], 0, font, anchor="mm")
        for column, count in enumerate(counts[row].tolist()):
            draw.text(
                (margin + column * cell + cell // 2, middle), f"{count}", 0, font, anchor="mm"
            )
    return picture


def save_picture(trainer: Trainer, picture: Image.Image, folder: Path, key: str) -> None:
    """Write a PNG file, and send the picture as `key` to the loggers that take images.

    `val/predictions` becomes `val_predictions_step_860.png`.
    """
    step = trainer.global_step
    folder.mkdir(parents=True, exist_ok=True)
    picture.save(folder / f"{key.replace('/', '_')}_step_{step}.png")
    for logger in trainer.loggers:
        client: Any = logger.experiment
        if hasattr(logger, "log_image"):  # Weights & Biases
            logger.log_image(key, [picture], step=step)
        elif hasattr(client, "log_image"):  # MLflow
            client.log_image(getattr(logger, "run_id", None), picture, key=key, step=step)
        elif hasattr(client, "add_image"):  # TensorBoard
            client.add_image(key, np.asarray(picture.convert("RGB")), step, dataformats="HWC")
