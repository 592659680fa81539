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

    The images are those of the first validation batch, which is the same in each epoch.

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
        images, labels = (part[: self.num_images] for part in batch)
        predictions = pl_module(images).argmax(dim=1)
        datamodule = trainer.datamodule  # ty: ignore[missing-attribute]
        mean, std = (images.new_tensor(x).view(-1, 1, 1) for x in (datamodule.mean, datamodule.std))
        grid = draw_grid(
            (images * std + mean).clamp(0, 1).cpu(),
            [datamodule.class_names[i] for i in labels],
            [datamodule.class_names[i] for i in predictions],
            self.columns,
        )
        self.output_dir.mkdir(parents=True, exist_ok=True)
        grid.save(self.output_dir / f"val_epoch_{trainer.current_epoch:03d}.png")
        for logger in trainer.loggers:
            send_image(logger, "val/predictions", grid, trainer.current_epoch, trainer.global_step)


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
