"""Draw images with their labels, draw a confusion matrix, and send either to any tracker."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import (
    CometLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

RIGHT, WRONG, INK = (38, 128, 62), (196, 32, 32), (40, 40, 40)
CELL, CAPTION, GAP = 84, 20, 4  # pixels
MAX_NAMED = 20  # classes; the rows of more have no room for names and numbers

log = logging.getLogger(__name__)


def labelled_images(batch: object) -> tuple[Tensor, Tensor] | None:
    """Return images `(B, C, H, W)`, of one channel or three, and labels `(B,)` of a batch.

    None if the batch is not one of image classification.
    """
    if not isinstance(batch, list | tuple) or len(batch) != 2:
        return None
    images, labels = batch
    if not (isinstance(images, Tensor) and images.ndim == 4 and images.shape[1] in (1, 3)):
        return None
    if not (isinstance(labels, Tensor) and labels.ndim == 1 and not labels.is_floating_point()):
        return None
    return images, labels


def is_classification(logits: object) -> bool:
    """Say whether what a model returned are logits `(B, K)` of two or more classes."""
    return isinstance(logits, Tensor) and logits.ndim == 2 and logits.shape[1] > 1


def names_of(labels: Tensor | Sequence[int], datamodule: Any) -> list[str]:
    """Return the names of classes: from the datamodule's `class_names`, else their numbers."""
    names = getattr(datamodule, "class_names", None)
    return [names[int(i)] if names else str(int(i)) for i in labels]


def pixels(images: Tensor, datamodule: Any) -> Tensor:
    """Return images as they were before the datamodule normalised them, in `[0, 1]`, on the CPU.

    Args:
        images: `(N, C, H, W)`.
        datamodule: its `mean` and `std`, one number a channel, are undone if it has them.
    """
    mean = torch.as_tensor(getattr(datamodule, "mean", 0.0)).view(-1, 1, 1)
    std = torch.as_tensor(getattr(datamodule, "std", 1.0)).view(-1, 1, 1)
    return (images.detach().float().cpu() * std + mean).clamp(0, 1)


def draw_grid(
    images: Tensor, labels: Sequence[str], predictions: Sequence[str], columns: int = 8
) -> Image.Image:
    """Draw images with a caption each: the label if it was found, else `label > prediction`.

    Args:
        images: `(N, C, H, W)` in `[0, 1]`, with one channel or three.
        labels: N names of classes.
        predictions: N names of classes.
        columns: images a row.
    """
    rows = -(-len(images) // columns)
    width, height = columns * (CELL + GAP) + GAP, rows * (CELL + CAPTION + GAP) + GAP
    grid = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(grid)
    font = ImageFont.load_default(14)
    array = (images * 255).to(torch.uint8).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    for i, (label, prediction) in enumerate(zip(labels, predictions, strict=True)):
        left = GAP + (i % columns) * (CELL + GAP)
        top = GAP + (i // columns) * (CELL + CAPTION + GAP)
        tile = Image.fromarray(array[i]).resize((CELL, CELL), Image.Resampling.NEAREST)
        grid.paste(tile, (left, top))
        right = label == prediction
        colour = RIGHT if right else WRONG
        draw.rectangle((left, top, left + CELL - 1, top + CELL - 1), outline=colour, width=3)
        caption = label if right else f"{label} > {prediction}"
        while len(caption) > 1 and draw.textlength(caption, font) > CELL + GAP:
            caption = caption[:-2] + "…"
        centre = (left + CELL // 2, top + CELL + CAPTION // 2)
        draw.text(centre, caption, fill=colour, font=font, anchor="mm")
    return grid


def draw_confusion_matrix(counts: Tensor, names: Sequence[str]) -> Image.Image:
    """Draw how often a class (row) was taken for another (column).

    Args:
        counts: int64 `(K, K)`, labels by predictions.
        names: of the K classes.
    """
    named = len(names) <= MAX_NAMED
    cell, margin = (48, 96) if named else (max(4, 900 // len(names)), 32)
    side = margin + cell * len(names) + GAP
    picture = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(picture)
    font, small = ImageFont.load_default(14), ImageFont.load_default(12)
    draw.text((margin, 6), "predicted >", fill=INK, font=font)
    draw.text((6, margin - 18), "label", fill=INK, font=font)
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    for row, name in enumerate(names):
        top = margin + row * cell
        if named:
            draw.text((margin - 8, top + cell // 2), name[:11], INK, font, anchor="rm")
            draw.text((top + cell // 2, margin - 12), name[:6], INK, font, anchor="mm")
        for column in range(len(names)):
            left, share = margin + column * cell, float(shares[row, column])
            target = RIGHT if row == column else WRONG
            fill = tuple(round(255 + (hue - 255) * share**0.5) for hue in target)
            draw.rectangle((left, top, left + cell - 2, top + cell - 2), fill=fill)
            if named and counts[row, column]:
                middle = (left + cell // 2, top + cell // 2)
                ink = "white" if share > 0.3 else INK
                draw.text(middle, str(int(counts[row, column])), ink, small, anchor="mm")
    return picture


def show(trainer: Trainer, picture: Image.Image, path: Path, name: str) -> None:
    """Write a picture to a PNG file, and send it to each tracker under `name`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, compress_level=1)  # half the time, a fifth more bytes
    for logger in trainer.loggers:
        send_image(logger, name, picture, trainer.global_step)


def send_image(logger: Logger, name: str, image: Image.Image, step: int) -> None:
    """Send an image to a tracker that takes images. A tracker that fails is reported, no more."""
    try:
        if isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, image, key=name, step=step)
        elif isinstance(logger, TensorBoardLogger):
            from torchvision.transforms.functional import pil_to_tensor

            logger.experiment.add_image(name, pil_to_tensor(image), step)
        elif isinstance(logger, WandbLogger):
            logger.log_image(name, [image], step=step)
        elif isinstance(logger, CometLogger):
            logger.experiment.log_image(image, name=name, step=step)
    except Exception as error:
        log.warning("%s did not take the image %s: %s", type(logger).__name__, name, error)
