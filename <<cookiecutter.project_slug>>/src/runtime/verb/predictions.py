"""From image files to class probabilities, through a datamodule and a model of whatever kind."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from src.runtime.checkpoint import checkpoints


def dataloader(
    datamodule: LightningDataModule, paths: Sequence[Path], ckpt_path: str
) -> DataLoader[Tensor]:
    """Return batches of images, `(B, C, H, W)`, in the order of `paths`.

    The datamodule makes the dataset, by a method `predict_dataset(paths)` that needs no `setup`:
    the data of training need not be there. It gets back what it put in the checkpoint.

    Raises:
        ValueError: if the datamodule has no such method.
    """
    if not hasattr(datamodule, "predict_dataset"):
        raise ValueError(
            f"{type(datamodule).__name__} has no method predict_dataset(paths). Write one: it "
            "returns a dataset of the images as the model takes them, and needs no setup()"
        )
    state = checkpoints.load(ckpt_path).get(type(datamodule).__qualname__)
    if state:
        datamodule.load_state_dict(state)
    return DataLoader(
        datamodule.predict_dataset(paths),  # ty: ignore[not-callable]
        batch_size=getattr(datamodule, "batch_size", 64),
        num_workers=getattr(datamodule, "num_workers", 0),
        pin_memory=torch.cuda.is_available(),
    )


def probabilities(model: LightningModule, outputs: Any) -> Tensor:
    """Return class probabilities `(N, K)`, on the CPU.

    A model without a `predict_step` of its own gives logits `(B, K)` for a batch, as its `forward`
    does; one with, probabilities.

    Raises:
        ValueError: if these are not the scores of two or more classes.
    """
    result = torch.cat(outputs).float().cpu()
    if result.ndim != 2 or result.shape[1] < 2:
        raise ValueError(
            f"{type(model).__name__} returned {tuple(result.shape)} for {len(result)} images, not "
            "a row of class scores each: give it a predict_step that does"
        )
    has_own = type(model).predict_step is not LightningModule.predict_step
    return result if has_own else result.softmax(dim=1)


def class_names(datamodule: LightningDataModule, number: int) -> list[str]:
    """Return the datamodule's `class_names`, or numbers if it has not so many."""
    names = [str(name) for name in getattr(datamodule, "class_names", ())]
    return names if len(names) == number else [str(i) for i in range(number)]
