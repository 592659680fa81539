"""Regression on a table: a column to predict from the others, a CSV or parquet file by its path."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from src.data.split_datamodule import SplitDataModule

FIT_SHARE, VAL_SHARE = 0.7, 0.15  # the rest is the test set


class TabularDataModule(SplitDataModule):
    """Batches of features, float32 `(B, num_features)`, and targets, float32 `(B,)`.

    Both are standardised by mean and standard deviation of the training rows, which a checkpoint
    keeps. Columns of words become a column of 0 and 1 for each word.

    Args:
        path: a `.csv` or `.parquet` file; `diabetes` is scikit-learn's embedded table.
        target: the column to predict.
        num_features: how many columns there are to predict from; checked, since the net is built
            for so many.
        drop: columns to leave out, such as an identifier.
        split_seed: which rows are kept apart; not the run's seed, so that runs can be compared.
        batch_size: rows a step, on each device.
        num_workers: processes that fetch; 0 is fastest for what is in memory.

    Raises:
        ValueError: in `setup`, if the table is not as described here.
    """

    def __init__(
        self,
        path: str,
        target: str,
        num_features: int,
        drop: Sequence[str] = (),
        split_seed: int = 42,
        batch_size: int = 32,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers)
        self.path = path
        self.target = target
        self.num_features = num_features
        self.drop = list(drop)
        self.split_seed = split_seed
        self.scale: dict[str, Tensor] = {}

    def setup(self, stage: str | None = None) -> None:
        """Read, check, split and standardise once."""
        if self.data_train is not None:
            return
        features, targets = to_tensors(read_table(self.path), self.target, self.drop)
        if features.shape[1] != self.num_features:
            raise ValueError(
                f"{self.path} gives {features.shape[1]} features, not {self.num_features}: "
                f"set data.num_features={features.shape[1]}"
            )
        order = torch.randperm(
            len(targets), generator=torch.Generator().manual_seed(self.split_seed)
        )
        sizes = [round(FIT_SHARE * len(order)), round(VAL_SHARE * len(order))]
        rows = order.split([*sizes, len(order) - sum(sizes)])
        if not self.scale:
            self.scale = {
                "feature_mean": features[rows[0]].mean(dim=0),
                "feature_std": features[rows[0]].std(dim=0).clamp_min(1e-8),  # a constant column
                "target_mean": targets[rows[0]].mean(),
                "target_std": targets[rows[0]].std().clamp_min(1e-8),
            }
        features = (features - self.scale["feature_mean"]) / self.scale["feature_std"]
        targets = (targets - self.scale["target_mean"]) / self.scale["target_std"]
        self.data_train, self.data_val, self.data_test = (
            TensorDataset(features[part], targets[part]) for part in rows
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs to read new rows as the training rows were read."""
        return self.scale

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the scale of a checkpoint."""
        self.scale = state_dict


def read_table(path: str) -> Any:
    """Return a table as a pandas DataFrame.

    Raises:
        ValueError: if there is no such file, if it is of another kind, or if pandas is missing.
    """
    if path == "diabetes":
        from sklearn import datasets

        return datasets.load_diabetes(as_frame=True, scaled=False).frame
    if not Path(path).expanduser().is_file():
        raise ValueError(f"{path} does not exist: set data.path to a .csv or .parquet file")
    try:
        import pandas as pd

        readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
        if Path(path).suffix not in readers:
            raise ValueError(
                f"{path} is neither .csv nor .parquet: convert it, or extend read_table"
            )
        return readers[Path(path).suffix](Path(path).expanduser())
    except ImportError as error:
        raise ValueError(f"{path} needs a package: uv sync --extra tabular ({error})") from error


def to_tensors(table: Any, target: str, drop: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return the features, float32 `(N, F)`, and the targets, float32 `(N,)`, of a DataFrame.

    Raises:
        ValueError: naming a column that is not there, or that has gaps.
    """
    for column in (target, *drop):
        if column not in table.columns:
            raise ValueError(
                f"There is no column {column}, only {', '.join(map(str, table.columns))}"
            )
    table = table.drop(columns=list(drop))
    gaps = [str(column) for column in table.columns if table[column].isna().any()]
    if gaps:
        raise ValueError(
            f"These columns have empty cells: {', '.join(gaps)}. Fill them, or leave the columns "
            f"out: data.drop=[{','.join(gaps)}]"
        )
    if table[target].dtype.kind not in "iufb":
        raise ValueError(f"The target {target} holds words, but regression needs numbers")
    import pandas as pd

    features = pd.get_dummies(table.drop(columns=target), dtype="float32")
    return (
        torch.tensor(features.to_numpy("float32")),
        torch.tensor(table[target].to_numpy("float32")),
    )
