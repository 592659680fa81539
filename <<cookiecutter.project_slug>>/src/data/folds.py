"""Which rows of a set are for training, and which for validation."""

import torch
from torch import Generator, Tensor


def split(
    rows: int, val_size: int, generator: Generator, fold: int | None = None, num_folds: int = 5
) -> tuple[Tensor, Tensor]:
    """Return the rows for training and for validation, int64, in random order.

    Args:
        rows: how many there are.
        val_size: how many to validate on, if `fold` is None.
        generator: the same state gives the same split, in each process.
        fold: validate on this part of `num_folds`; over all folds each row is validated on once.
        num_folds: number of parts, equal to within a row.

    Raises:
        ValueError: if there is no such split.
    """
    order = torch.randperm(rows, generator=generator)
    if fold is None:
        if not 0 < val_size < rows:
            raise ValueError(
                f"val_size={val_size} does not split {rows} training images: "
                f"set data.val_size between 1 and {rows - 1}"
            )
        return order[:-val_size], order[-val_size:]
    if not (2 <= num_folds <= rows and 0 <= fold < num_folds):
        raise ValueError(
            f"there is no fold {fold} of {num_folds}: set data.num_folds between 2 and {rows}, "
            "and data.fold between 0 and data.num_folds - 1"
        )
    parts = list(order.tensor_split(num_folds))
    held_out = parts.pop(fold)
    return torch.cat(parts), held_out
