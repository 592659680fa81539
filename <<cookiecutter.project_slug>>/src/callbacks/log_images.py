"""Show what the model makes of the same validation images, epoch after epoch."""

from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

RIGHT, WRONG = (38, 128, 62), (196, 32, 32)
CELL, CAPTION, GAP = 84, 20, 4  # pixels


class LogImages(Callback):
    """Draw the first validation images with label and prediction, to a file and each tracker.

    The images are those of the first validation batch, which is the same in each epoch. Batches
    and models other than those of image classification are passed over.

    Args:
        output_dir: where the PNG files go.
        num_images: how many, at most a batch.
        columns: images a row.
    """

    def __init__(self, output_dir: str, num_images: int = 32, columns: int = 8) -> None:
        self.output_dir = Path(output_dir)
        self.num_images = num_images
        self.columns = columns

    @rank_zero_only
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: tuple[Tensor, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first batch; but not in the sanity check, before anything was learned."""
        if batch_idx > 0 or dataloader_idx > 0 or trainer.sanity_checking:
            return
        pictures = pictures_of(batch, trainer, self.num_images)
        if pictures is None:
            return
        images, labels = pictures
        logits = pl_module(batch[0][: self.num_images])
        if logits.ndim != 2 or logits.shape[1] < 2:
            return  # no classifier of whole images
        predictions = names_of(logits.argmax(dim=1), trainer)
        grid = draw_grid(images, labels, predictions, self.columns)
        self.output_dir.mkdir(parents=True, exist_ok=True)
        grid.save(self.output_dir / f"val_epoch_{trainer.current_epoch:03d}.png")
        for logger in trainer.loggers:
            send_image(logger, "val/predictions", grid, trainer.current_epoch, trainer.global_step)


def pictures_of(
    batch: object, trainer: Trainer, num_images: int
) -> tuple[Tensor, list[str]] | None:
    """Return the first images of a batch as they were before they were normalised.

    Returns:
        `(N, C, H, W)` in `[0, 1]` on the CPU, with one channel or three, and the names of their
        classes; None if the batch is not one of labelled images.
    """
    if not isinstance(batch, list | tuple) or len(batch) != 2:
        return None
    images, labels = batch
    if not (isinstance(images, Tensor) and images.ndim == 4 and images.shape[1] in (1, 3)):
        return None
    if not (isinstance(labels, Tensor) and labels.ndim == 1 and not labels.is_floating_point()):
        return None
    images, labels = images[:num_images], labels[:num_images]
    datamodule = trainer.datamodule  # ty: ignore[missing-attribute]
    mean = images.new_tensor(getattr(datamodule, "mean", 0.0)).view(-1, 1, 1)
    std = images.new_tensor(getattr(datamodule, "std", 1.0)).view(-1, 1, 1)
    return (images * std + mean).clamp(0, 1).cpu(), names_of(labels, trainer)


def names_of(labels: Tensor, trainer: Trainer) -> list[str]:
    """Return the names of classes `(N,)`: those of the datamodule, or else their numbers."""
    names = getattr(trainer.datamodule, "class_names", None)  # ty: ignore[missing-attribute]
    return [names[i] if names else str(i) for i in labels.tolist()]


def draw_grid(
    images: Tensor, labels: list[str], predictions: list[str], columns: int
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
    pixels = (images * 255).to(torch.uint8).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    for i, (label, prediction) in enumerate(zip(labels, predictions, strict=True)):
        left = GAP + (i % columns) * (CELL + GAP)
        top = GAP + (i // columns) * (CELL + CAPTION + GAP)
        tile = Image.fromarray(pixels[i]).resize((CELL, CELL), Image.Resampling.NEAREST)
        grid.paste(tile, (left, top))
        right = label == prediction
        colour = RIGHT if right else WRONG
        draw.rectangle((left, top, left + CELL - 1, top + CELL - 1), outline=colour, width=3)
        caption = label if right else f"{label} > {prediction}"
        centre = (left + CELL // 2, top + CELL + CAPTION // 2)
        draw.text(centre, caption, fill=colour, font=font, anchor="mm")
    return grid


def send_image(logger: Logger, name: str, image: Image.Image, epoch: int, step: int) -> None:
    """Send an image to a tracker that takes images; others are passed over."""
    if isinstance(logger, MLFlowLogger):
        file = f"images/{name.replace('/', '_')}_epoch_{epoch:03d}.png"
        logger.experiment.log_image(logger.run_id, image, artifact_file=file)
    elif isinstance(logger, TensorBoardLogger):
        from torchvision.transforms.functional import pil_to_tensor

        logger.experiment.add_image(name, pil_to_tensor(image), step)
