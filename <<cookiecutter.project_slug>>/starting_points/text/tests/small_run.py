"""Overrides that make a run of this project small: seconds on the CPU, without a download."""

OVERRIDES = (
    "data.dataset.per_package=60",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "trainer.min_epochs=1",
    "trainer.max_epochs=2",
    "+trainer.limit_train_batches=4",
    "+trainer.limit_val_batches=2",
    "+trainer.limit_test_batches=2",
    "data.num_workers=0",
)
