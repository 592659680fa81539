"""Draw images with captions and confusion matrices, and send them to the loggers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from matplotlib import get_data_path
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

GREEN = (38, 128, 62)
RED = (196, 32, 32)

NO_IMAGES = "the batches are not images (B, C, H, W) and labels (B,)"

FONT = Path(get_data_path(), "fonts/ttf/DejaVuSans.ttf")  # has the letters of most alphabets
FONT_SIZES = range(14, 8, -1)  # of captions and names: the largest that fits

# A grid of images, in pixels
CELL = 128  # side of an image and the gap beside it
GAP = 4
LINE = 18  # of a caption
ROW = CELL + 2 * LINE  # an image above its caption
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

    `class_names` is a sequence, or a mapping from numbers; anything else is ignored.
    """
    names = getattr(datamodule, "class_names", None)
    if not isinstance(names, Mapping):
        names = dict(enumerate(names)) if isinstance(names, Iterable) else {}
    numbers = [int(label) for label in labels]
    return [str(names.get(number, number)) for number in numbers]


def draw_grid(
    images: Tensor, captions: Sequence[str], are_right: Sequence[bool], datamodule: Any
) -> Image.Image:
    """Draw images `(N, C, H, W)` in rows, each above its caption, which is red if not right.

    A caption has one or two lines.
    The datamodule's `mean` and `std`, if it has them, turn the images back into pixel values.
    """
    rows = math.ceil(len(images) / COLUMNS)
    width = COLUMNS * CELL
    height = rows * ROW
    grid = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(grid)
    pixels = rgb_pixels(images, datamodule)
    for i, array in enumerate(pixels.numpy()):
        row, column = divmod(i, COLUMNS)
        left = column * CELL
        top = row * ROW
        image = Image.fromarray(array)
        tile = image.resize((CELL - GAP, CELL - GAP), Image.Resampling.NEAREST)
        grid.paste(tile, (left, top))
        colour = GREEN if are_right[i] else RED
        for number, line in enumerate(captions[i].splitlines()):
            text, font = fit_text(line, CELL - GAP)
            draw.text((left, top + CELL + number * LINE), text, colour, font)
    return grid


def fit_text(text: str, width: int) -> tuple[str, Any]:
    """Return a text and the largest font in which it fits, cut if none is small enough."""
    for size in FONT_SIZES:
        font = load_font(size)
        if font.getlength(text) <= width:
            return text, font
    while font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "...", font


@cache
def load_font(size: int) -> Any:
    """Return matplotlib's font, or PIL's own, which has few letters besides the English ones."""
    return ImageFont.truetype(FONT, size) if FONT.is_file() else ImageFont.load_default(size)


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
    figure = Figure(figsize=(9, 9), layout="constrained")
    metric.plot(ax=figure.subplots(), labels=names, add_text=len(names) <= MAX_CLASSES_WITH_COUNTS)
    file = BytesIO()
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
