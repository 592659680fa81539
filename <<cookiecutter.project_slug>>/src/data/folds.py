"""Which rows of a set are for training, and which for validation."""

import torch
from torch import Tensor


def split(
    order: Tensor, val_size: int, fold: int | None = None, num_folds: int = 5
) -> tuple[Tensor, Tensor]:
    """Return the rows for training and those for validation.

    Args:
        order: the rows, int64 `(N,)`, in a random order that is the same in each process.
        val_size: how many to validate on, the last ones, if `fold` is None.
        fold: validate on this part of `num_folds`; over all folds each row is validated on once.
        num_folds: number of parts, equal to within a row.

    Raises:
        ValueError: if there is no such split.
    """
    rows = len(order)
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
