"""Overrides that make a run of this project small: seconds on the CPU, without a download."""

from tests.small_data import SMALL_DATA

OVERRIDES = (
    *SMALL_DATA,
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "trainer.min_epochs=1",
    "trainer.max_epochs=2",
    "+trainer.limit_train_batches=4",
    "+trainer.limit_val_batches=2",
    "+trainer.limit_test_batches=2",
)
