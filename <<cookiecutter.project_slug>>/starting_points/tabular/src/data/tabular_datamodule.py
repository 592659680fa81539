"""A table with a column to predict from the others: a number, or a class."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from src.data.split_datamodule import SplitDataModule
from src.data.table_files import read_table
from src.data.table_preparation import TablePreparation, kinds_of_columns, to_text
from src.data.table_target import (
    CLASSIFICATION,
    REGRESSION,
    class_names_of,
    guess_task,
    to_numbers,
)

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor]
FEWEST_ROWS = 20


class TableRows(TensorDataset):
    """Rows in memory: features, float32 `(N, F)`, and targets, `(N,)`."""

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch in one operation: features `(B, F)` and targets `(B,)`."""
        features, targets = self[torch.as_tensor(indices)]
        return features, targets


def as_batch(batch: Batch) -> Batch:
    """Return a batch as `__getitems__` made it."""
    return batch


class RowsToPredict(Dataset[Tensor]):
    """Features of the rows of a file; a row that cannot be read raises ValueError."""

    def __init__(self, features: Tensor, problems: Sequence[str]) -> None:
        self.features, self.problems = features, problems
        self.names = [f"row {number}" for number in range(1, len(features) + 1)]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.names)

    def __getitem__(self, index: int) -> Tensor:
        """Return the features `(F,)` of a row."""
        if self.problems[index]:
            raise ValueError(self.problems[index])
        return self.features[index]


@dataclass
class Fitted:
    """What was learned from the training rows, and a checkpoint keeps."""

    task: str
    class_names: list[str]  # empty for regression
    target_mean: float  # 0 and 1 for classification
    target_std: float
    preparation: TablePreparation
    thousands: list[str] = field(default_factory=list)  # columns with dots between them


class TabularDataModule(SplitDataModule):
    """Batches of features, float32 `(B, num_features)`, and targets `(B,)`.

    Targets are classes (int64), or numbers in their own unit (float32). The file is read when an
    attribute that depends on it, such as `num_features`, is first asked for.

    Args:
        path: a `.csv` or `.parquet` file; `diabetes` is scikit-learn's embedded table.
        target: the column to predict; rows without a value in it are left out.
        task: `regression` or `classification`; None guesses from the target, and logs the guess.
        drop: columns to leave out.
        val_fraction: share of the rows for validation.
        test_fraction: share of the rows for the test.
        split_seed: of the split; not the run's seed, so that runs can be compared.
        batch_size: rows of a batch, on each device.
        num_workers: processes that fetch; 0 is fastest for what is in memory.

    Raises:
        ValueError: when the file is read, if the table is not as described here.
    """

    def __init__(
        self,
        path: str,
        target: str,
        task: str | None = None,
        drop: Sequence[str] = (),
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 42,
        batch_size: int = 32,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, collate=as_batch)
        if task not in (None, REGRESSION, CLASSIFICATION):
            raise ValueError(f"data.task={task}: set {REGRESSION}, {CLASSIFICATION} or null")
        self.path = path
        self.target = target
        self.chosen_task = task
        self.drop = list(drop)
        self.fractions = (val_fraction, test_fraction)
        self.split_seed = split_seed
        self._fitted: Fitted | None = None

    @cached_property
    def table(self) -> pd.DataFrame:
        """The rows that have a target."""
        table = read_table(self.path)
        for column in (self.target, *self.drop):
            if column not in table:
                raise ValueError(
                    f"{self.path} has no column {column}, only {', '.join(table.columns)}: "
                    "set data.target=COLUMN (and data.drop)"
                )
        for column in table.attrs.get("unclear", []):
            if column not in self.drop:
                raise ValueError(
                    f"{self.path}: the dots in {column} may be decimal points or separate "
                    "thousands: remove them, or separate the columns by commas if they are points"
                )
        complete = table[table[self.target].notna()].drop(columns=self.drop)
        if len(complete) < len(table):
            log.info("%d rows without %s are left out", len(table) - len(complete), self.target)
        if len(complete) < FEWEST_ROWS:
            raise ValueError(
                f"{self.path} has {len(complete)} rows with {self.target}: "
                f"{FEWEST_ROWS} are needed for training, validation and test"
            )
        complete.attrs = table.attrs
        return complete.reset_index(drop=True)

    def split(self) -> list[np.ndarray]:
        """Return the numbers of the rows for training, validation and test."""
        generator = torch.Generator().manual_seed(self.split_seed)
        order = torch.randperm(len(self.table), generator=generator).numpy()
        val, test = (max(2, round(fraction * len(order))) for fraction in self.fractions)
        return np.split(order, [len(order) - val - test, len(order) - test])

    @property
    def fitted(self) -> Fitted:
        """What was learned from the training rows: here, or before it came into a checkpoint."""
        if self._fitted is None:
            features = self.table.drop(columns=self.target)
            kinds = kinds_of_columns(features)
            if not kinds:
                raise ValueError(f"{self.path} has no column to predict {self.target} from")
            rows, _, _ = self.split()
            preparation = TablePreparation.fit(features.iloc[rows], kinds)
            target = self.table[self.target]
            task = self.chosen_task or guess_task(target)
            names: list[str] = []
            mean, std = 0.0, 1.0
            if task == CLASSIFICATION:
                names = class_names_of(target)
            else:
                numbers = to_numbers(target).iloc[rows]
                mean, std = float(numbers.mean()), float(numbers.std()) or 1.0
            thousands = self.table.attrs.get("thousands", [])
            for column in thousands:
                log.info("Column %s has dots between thousands: 1.234 is read as 1234", column)
            self._fitted = Fitted(task, names, mean, std, preparation, thousands)
        return self._fitted

    @property
    def task(self) -> str:
        """`regression` or `classification`."""
        return self.fitted.task

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their numbers; empty for regression."""
        return self.fitted.class_names

    @property
    def num_features(self) -> int:
        """Number of features that the columns become."""
        return self.fitted.preparation.num_features

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 for regression."""
        return len(self.class_names)

    @property
    def num_outputs(self) -> int:
        """Number of values that a net predicts for a row: one a class, or one."""
        return self.num_classes or 1

    @property
    def target_mean(self) -> float:
        """Mean of the training rows' targets; 0 for classification."""
        return self.fitted.target_mean

    @property
    def target_std(self) -> float:
        """Standard deviation of the training rows' targets; 1 for classification."""
        return self.fitted.target_std

    def setup(self, stage: str | None = None) -> None:
        """Prepare and split the table once."""
        if self.data_train is not None:
            return
        features, _ = self.fitted.preparation.transform(self.table)
        target = self.table[self.target]
        if self.task == CLASSIFICATION:
            numbers = to_text(target).map({name: i for i, name in enumerate(self.class_names)})
            if numbers.isna().any():
                raise ValueError(f"{self.path} has classes that the training had not")
            targets = torch.tensor(numbers.to_numpy("int64"))
        else:
            targets = torch.tensor(to_numbers(target).to_numpy("float32"))
        inputs = torch.from_numpy(features)
        self.data_train, self.data_val, self.data_test = (
            TableRows(inputs[rows], targets[rows]) for rows in map(torch.from_numpy, self.split())
        )

    def prediction_dataset(self, path: str) -> RowsToPredict:
        """Return the rows of a file, which needs no target, as the model takes them.

        Raises:
            ValueError: if the file cannot be read, or lacks a column.
        """
        table = read_table(path, keep_bad_lines=True, thousands=self.fitted.thousands)
        features, problems = self.fitted.preparation.transform(table)
        for column, unknown in self.fitted.preparation.unknown_categories(table).items():
            log.warning(
                "Column %s has categories that were not in the training, such as %r (%d of %d)",
                *(column, unknown[0], len(unknown), len(table)),
            )
        return RowsToPredict(torch.from_numpy(features), problems)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs to read new rows as the training rows were read."""
        preparation = self.fitted.preparation.learned
        return vars(self.fitted) | {"preparation": preparation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint learned, also for rows that are prepared already."""
        preparation = TablePreparation(state_dict["preparation"])
        self._fitted = Fitted(**(state_dict | {"preparation": preparation}))
        if self.data_train is not None:
            self.data_train = None
            self.setup()
