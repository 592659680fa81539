"""Draw images with captions and confusion matrices, and send them to the loggers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

GREEN, RED, GREY = (38, 128, 62), (196, 32, 32), (60, 60, 60)
CELL, CAPTION, GAP, COLUMNS = 84, 20, 4, 8  # pixels; images per row
MAX_NAMED_CLASSES = 20  # a larger confusion matrix has no room for names and counts


def labelled_images(batch: Any) -> tuple[Tensor, Tensor]:
    """Return the images `(B, C, H, W)`, C 1 or 3, and labels `(B,)` of a batch.

    Raises:
        ValueError: if the batch holds anything else.
    """
    pair = batch if isinstance(batch, list | tuple) and len(batch) == 2 else (None, None)
    images, labels = (part if isinstance(part, Tensor) else torch.empty(0) for part in pair)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or labels.is_floating_point():
        raise ValueError("no pictures, because the batches are not (images, labels)")
    return images, labels


def predict_logits(trainer: Trainer, model: LightningModule, images: Tensor) -> Tensor:
    """Return the logits `(B, K)` of `model(images)`, in the precision of the run.

    Raises:
        ValueError: if the model returns no logits `(B, K)`.
    """
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        logits = model(images)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError("no pictures, because the model returns no logits (B, K)")
    return logits


def names_of(labels: Tensor | Sequence[int], datamodule: Any) -> list[str]:
    """Return the names of classes, from the datamodule's `class_names`, else their numbers."""
    names = dict(enumerate(getattr(datamodule, "class_names", ())))
    return [str(names.get(int(label), int(label))) for label in labels]


def grid_picture(
    images: Tensor, captions: Sequence[str], colours: Sequence[Any], datamodule: Any
) -> Image.Image:
    """Draw images `(N, C, H, W)` in rows, each with its caption in its colour.

    The datamodule's `mean` and `std`, if it has them, turn the images back into pixel values.
    """
    mean, std = (
        torch.as_tensor(getattr(datamodule, name, default)).view(-1, 1, 1)
        for name, default in (("mean", 0.0), ("std", 1.0))
    )
    pixels = ((images.detach().float().cpu() * std + mean).clamp(0, 1) * 255).byte()
    arrays = pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    rows = -(-len(images) // COLUMNS)
    size = (COLUMNS * (CELL + GAP) + GAP, rows * (CELL + CAPTION + GAP) + GAP)
    grid = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default(14)
    for i, (array, caption, colour) in enumerate(zip(arrays, captions, colours, strict=True)):
        left = GAP + i % COLUMNS * (CELL + GAP)
        top = GAP + i // COLUMNS * (CELL + CAPTION + GAP)
        tile = Image.fromarray(array).resize((CELL, CELL), Image.Resampling.NEAREST)
        grid.paste(tile, (left, top))
        draw.rectangle((left, top, left + CELL - 1, top + CELL - 1), outline=colour, width=3)
        while len(caption) > 1 and draw.textlength(caption, font) > CELL + GAP:
            caption = caption[:-2] + "…"
        centre = (left + CELL // 2, top + CELL + CAPTION // 2)
        draw.text(centre, caption, fill=colour, font=font, anchor="mm")
    return grid


def confusion_picture(counts: Tensor, names: Sequence[str]) -> Image.Image:
    """Draw how often a class (row) was predicted as another (column); counts are int `(K, K)`."""
    named = len(names) <= MAX_NAMED_CLASSES
    cell, margin = (48, 96) if named else (max(4, 900 // len(names)), 32)
    side = margin + cell * len(names) + GAP
    picture = Image.new("RGB", (side, side), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    draw.text((margin, 6), "columns: prediction, rows: label", fill=GREY, font=font)
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    for row, name in enumerate(names):
        top = margin + row * cell
        if named:
            draw.text((margin - 8, top + cell // 2), name[:11], GREY, font, anchor="rm")
            draw.text((top + cell // 2, margin - 12), name[:6], GREY, font, anchor="mm")
        for column in range(len(names)):
            left, share = margin + column * cell, float(shares[row, column]) ** 0.5
            colour = GREEN if row == column else RED
            fill = tuple(round(255 + (value - 255) * share) for value in colour)
            draw.rectangle((left, top, left + cell - 2, top + cell - 2), fill=fill)
            if named and counts[row, column]:
                centre, count = (left + cell // 2, top + cell // 2), str(int(counts[row, column]))
                draw.text(centre, count, "white" if share > 0.5 else GREY, font, anchor="mm")
    return picture


def save_picture(trainer: Trainer, picture: Image.Image, path: Path, key: str) -> None:
    """Write a PNG file, and send the picture as `key` to the loggers that take images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, compress_level=1)  # half the time of the default, a fifth more bytes
    step = trainer.global_step
    for logger in trainer.loggers:
        client: Any = logger.experiment
        if hasattr(logger, "log_image"):  # Weights & Biases
            logger.log_image(key, [picture], step=step)
        elif hasattr(client, "log_image"):  # MLflow
            client.log_image(getattr(logger, "run_id", None), picture, key=key, step=step)
        elif hasattr(client, "add_image"):  # TensorBoard
            client.add_image(key, np.asarray(picture), step, dataformats="HWC")
