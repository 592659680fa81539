"""Your data. Until `setup` reads it, this is scikit-learn's iris: 150 flowers of three species.

Source: R. A. Fisher, The use of multiple measurements in taxonomic problems, 1936.
"""

import csv

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset, random_split

from src.data.split_datamodule import SplitDataModule

Batch = tuple[Tensor, ...]


class RowsToPredict(Dataset[Tensor]):
    """The rows of a CSV file as the model takes them; a row with text in it raises ValueError.

    Args:
        path: a file with a header, and the inputs in its first four columns.
    """

    def __init__(self, path: str) -> None:
        with open(path, newline="", encoding="utf-8-sig") as file:
            self.rows = list(csv.reader(file))[1:]
        self.names = [f"row {number}" for number in range(1, len(self.rows) + 1)]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        """Return the inputs `(4,)` of a row."""
        return torch.tensor([float(value) for value in self.rows[index][:4]])


class MyDataModule(SplitDataModule):
    """Batches of inputs, float32 `(B, 4)`, and classes, int64 `(B,)`.

    Values of `???` in `configs/model/` are taken from the attribute of the same name here.

    Args:
        batch_size: samples per step, on each device.
        num_workers: processes that load the data.
    """

    num_features = 4  # length and width of sepals and petals, in cm
    class_names = ("setosa", "versicolor", "virginica")
    num_classes = len(class_names)

    def __init__(self, batch_size: int = 16, num_workers: int = 0) -> None:
        super().__init__(batch_size, num_workers)

    def prepare_data(self) -> None:
        """Download your data here: this is called in one process only."""

    def setup(self, stage: str | None = None) -> None:
        """Read and split the data, in each process and the same way in all of them."""
        if self.data_train is not None:
            return
        from sklearn.datasets import load_iris  # your own data needs no scikit-learn

        inputs, labels = map(torch.from_numpy, load_iris(return_X_y=True))
        dataset: Dataset[Batch] = TensorDataset(inputs.float(), labels.long())
        generator = torch.Generator().manual_seed(0)  # the same split, whatever the seed of the run
        self.data_train, self.data_val, self.data_test = random_split(
            dataset, [90, 30, 30], generator
        )

    def prediction_dataset(self, path: str) -> RowsToPredict:
        """Return what `python src/predict.py input=PATH` predicts."""
        return RowsToPredict(path)
