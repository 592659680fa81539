"""MyDataModule: its batches are what the model takes."""

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
