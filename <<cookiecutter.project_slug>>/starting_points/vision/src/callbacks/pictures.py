"""Draw images with captions and confusion matrices, and send them to the loggers."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, findfont, fontManager
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

log = logging.getLogger(__name__)

GREEN = (38, 128, 62)
RED = (196, 32, 32)

NO_IMAGES = "the batches are not images (B, C, H, W) and labels (B,)"

FONT = "DejaVu Sans"  # comes with matplotlib, and has the letters of most alphabets
FONT_SIZE = 10  # of captions: a line has about 20 letters
NO_FONT = "No font here has all letters of some class names: pictures show the numbers of these"

# A grid of images, in pixels
CELL = 128  # side of an image and the gap beside it
GAP = 4
LINE = 13  # of a caption
COLUMNS = 8  # images in a row

MAX_CLASSES_WITH_COUNTS = 20  # in a confusion matrix; more leave no room for numbers


def labelled_images(batch: Any, number: int | None = None) -> tuple[Tensor, Tensor] | None:
    """Return the first images `(N, C, H, W)`, C 1 or 3, and labels `(N,)` of a batch, else None."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        return None
    images, labels = batch
    are_tensors = isinstance(images, Tensor) and isinstance(labels, Tensor)
    if not are_tensors or (images.ndim, labels.ndim) != (4, 1) or images.shape[1] not in (1, 3):
        return None
    return images[:number], labels[:number]


def are_logits(output: Any, number: int) -> bool:
    """Return whether an output of a model is logits `(number, K)` of at least two classes."""
    if not isinstance(output, Tensor) or output.ndim != 2 or not output.is_floating_point():
        return False
    return output.shape[0] == number and output.shape[1] > 1


def names_of(labels: Iterable[Any], datamodule: Any) -> list[str]:
    """Return the names of classes, from the datamodule's `class_names`, else their numbers.

    `class_names` is a sequence, or a mapping from numbers; anything else is ignored. So is a name
    with letters that no installed font has.
    """
    names = getattr(datamodule, "class_names", None)
    if not isinstance(names, Mapping):
        names = dict(enumerate(names)) if isinstance(names, Iterable) else {}
    numbers = [int(label) for label in labels]
    found = [(str(names.get(number, number)), str(number)) for number in numbers]
    return [name if font_for(name) else number for name, number in found]


warn_once = cache(log.warning)


@cache
def font_for(text: str) -> FontEntry | None:
    """Return the first font that has all letters of a text; matplotlib's own comes first."""
    letters = set(map(ord, text))
    first = findfont(FONT)
    fonts = sorted(
        fontManager.ttflist, key=lambda f: (f.fname != first, f.weight != 400, f.style != "normal")
    )
    for font in fonts:
        is_real = font.size == "scalable" and "Last Resort" not in font.name  # that draws boxes
        if is_real and letters <= letters_in(font.fname):
            return font
    warn_once(NO_FONT)
    return None


@cache
def letters_in(file: str) -> frozenset[int]:
    """Return the numbers of the letters that a font has."""
    return frozenset(FT2Font(file).get_charmap())


def draw_grid(
    images: Tensor, captions: Sequence[str], are_right: Sequence[bool], datamodule: Any
) -> Image.Image:
    """Draw images `(N, C, H, W)` in rows, each above its caption, which is red if not right.

    The datamodule's `mean` and `std`, if it has them, turn the images back into pixel values.
    """
    wrapped = [wrap(caption, CELL - GAP) for caption in captions]
    row_height = CELL + LINE * max(len(lines) for lines in wrapped) + GAP
    height = math.ceil(len(images) / COLUMNS) * row_height
    grid = Image.new("RGB", (COLUMNS * CELL, height), "white")
    draw = ImageDraw.Draw(grid)
    pixels = rgb_pixels(images, datamodule)
    for i, array in enumerate(pixels.numpy()):
        row, column = divmod(i, COLUMNS)
        left = column * CELL
        top = row * row_height
        image = Image.fromarray(array)
        tile = image.resize((CELL - GAP, CELL - GAP), Image.Resampling.NEAREST)
        grid.paste(tile, (left, top))
        colour = GREEN if are_right[i] else RED
        for number, line in enumerate(wrapped[i]):
            draw.text((left, top + CELL + number * LINE), line, colour, load_font(line))
    return grid


def wrap(text: str, width: int) -> list[str]:
    """Return the lines of a text, each of which takes at most `width` pixels."""
    lines = []
    for line in text.splitlines():
        lines.append("")
        for letter in line:
            if load_font(line).getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


@cache
def load_font(text: str) -> ImageFont.FreeTypeFont:
    """Return a font for a text."""
    font = font_for(text)
    return ImageFont.truetype(font.fname if font else findfont(FONT), FONT_SIZE)


def rgb_pixels(images: Tensor, datamodule: Any) -> Tensor:
    """Return normalised images `(N, C, H, W)` as pixels, uint8 `(N, H, W, 3)`."""
    mean = channel_values(datamodule, "mean", 0.0)
    std = channel_values(datamodule, "std", 1.0)
    normalised = images.detach().float().cpu()
    scaled = normalised * std.view(-1, 1, 1)
    intensities = scaled + mean.view(-1, 1, 1)
    pixels = intensities.clamp(0, 1) * 255
    channels = pixels.byte().expand(-1, 3, -1, -1)
    return channels.permute(0, 2, 3, 1)


def channel_values(datamodule: Any, name: str, default: float) -> Tensor:
    """Return a datamodule's `mean` or `std`; what has that name and is no number is ignored."""
    try:
        return torch.as_tensor(getattr(datamodule, name, default), dtype=torch.float32).cpu()
    except (TypeError, ValueError, RuntimeError):
        return torch.tensor(default)


def draw_confusion_matrix(metric: MulticlassConfusionMatrix, names: list[str]) -> Image.Image:
    """Draw how often a class (row) was predicted as another (column)."""
    families = {font.name for font in map(font_for, names) if font}
    file = BytesIO()
    with rc_context({"font.family": [FONT, *families]}):
        figure = Figure(figsize=(9, 9), layout="constrained")
        axes = figure.subplots()
        metric.plot(ax=axes, labels=names, add_text=len(names) <= MAX_CLASSES_WITH_COUNTS)
        axes.tick_params("x", rotation=90)  # long names would lie on each other
        axes.tick_params("y", rotation=0)
        figure.savefig(file)
    return Image.open(file)


def save_picture(trainer: Trainer, picture: Image.Image, folder: Path, key: str) -> None:
    """Write a PNG file, and send the picture as `key` to the loggers that take images.

    `val/predictions` becomes `val_predictions_step_860.png`.
    """
    step = trainer.global_step
    name = key.replace("/", "_")
    folder.mkdir(parents=True, exist_ok=True)
    picture.save(folder / f"{name}_step_{step}.png")
    for logger in trainer.loggers:
        send_picture(logger, picture, key, step)


def send_picture(logger: Any, picture: Image.Image, key: str, step: int) -> None:
    """Send a picture to a logger, if it takes images."""
    client = logger.experiment
    if hasattr(logger, "log_image"):  # Weights & Biases
        logger.log_image(key, [picture], step=step)
    elif hasattr(client, "log_image"):  # MLflow
        run_id = getattr(logger, "run_id", None)
        client.log_image(run_id, picture, key=key, step=step)
    elif hasattr(client, "add_image"):  # TensorBoard
        pixels = np.asarray(picture.convert("RGB"))
        client.add_image(key, pixels, step, dataformats="HWC")
