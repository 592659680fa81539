"""MyDataModule: its batches are what the model takes."""

from pathlib import Path

import pytest
import torch

from src.data.my_datamodule import MyDataModule


def test_batches_are_what_the_model_takes() -> None:
    datamodule = MyDataModule(batch_size=8)
    datamodule.prepare_data()
    datamodule.setup()
    inputs, labels = next(iter(datamodule.train_dataloader()))
    assert inputs.shape == (8, datamodule.num_features)
    assert (inputs.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert labels.max() < datamodule.num_classes


def test_rows_of_a_file_are_predicted_and_one_with_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b,c,d\n1,2,3,4\n1,2,3,?\n")
    rows = MyDataModule().prediction_dataset(str(tmp_path / "rows.csv"))
    assert rows.names == ["row 1", "row 2"]
    assert rows[0].tolist() == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="could not convert"):
        rows[1]
