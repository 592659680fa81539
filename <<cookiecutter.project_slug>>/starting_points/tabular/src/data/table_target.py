"""The column to predict: numbers, or the names of classes."""

import logging

import numpy as np
import pandas as pd
from pandas.api import types

from src.data.table_preparation import to_text

log = logging.getLogger(__name__)

REGRESSION, CLASSIFICATION = "regression", "classification"
MAX_CLASSES = 100
FEWEST_NUMBERS = 10  # a target of whole numbers with no more different ones holds classes
WRITE_NUMBERS = "write its numbers without units and without separators of thousands"


def guess_task(target: pd.Series) -> str:
    """Return whether a target holds numbers or classes, and log it."""
    different = target.nunique()
    numeric = types.is_numeric_dtype(target) and not types.is_bool_dtype(target)
    whole = numeric and bool((target % 1 == 0).all())
    numbers = numeric and not (whole and different <= FEWEST_NUMBERS)
    task, other = (REGRESSION, CLASSIFICATION)[:: 1 if numbers else -1]
    log.info(
        "%s holds %d different %s: data.task=%s (data.task=%s says otherwise)",
        *(target.name, different, "numbers" if numeric else "texts", task, other),
    )
    return task


def class_names_of(target: pd.Series) -> list[str]:
    """Return the classes in a target, numbers by their size.

    Raises:
        ValueError: if there is only one, or more than `MAX_CLASSES`.
    """
    names = to_text(pd.Series(sorted(target.unique(), key=lambda value: (str(type(value)), value))))
    if not 2 <= len(names) <= MAX_CLASSES:
        numeric = types.is_numeric_dtype(target)
        raise ValueError(
            f"{target.name} has {len(names)} classes, not 2 to {MAX_CLASSES}: set data.target to "
            f"another column, or {'data.task=regression' if numeric else WRITE_NUMBERS}"
        )
    return names.tolist()


def to_numbers(target: pd.Series) -> pd.Series:
    """Return the target as numbers.

    Raises:
        ValueError: if it holds anything else.
    """
    numbers = pd.to_numeric(target, errors="coerce").astype(float)
    is_bad = ~np.isfinite(numbers)
    if is_bad.any():
        example = str(target[is_bad].iloc[0])
        raise ValueError(
            f"{target.name} holds {example!r}, but regression needs numbers: set data.target to "
            f"another column, or data.task=classification, or {WRITE_NUMBERS}"
        )
    return numbers
