"""What matters on a GPU, as far as a CPU can show it: precision, compile, no waiting in a step.

With ACCELERATOR=gpu, as `make test-gpu` sets it, the combinations run on a GPU.
"""

import csv
import logging
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from conftest import Command, Compose
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from src.callbacks.device_monitor import OutOfMemoryAdvice, TrainingSpeed
from src.callbacks.finite_loss import FiniteLoss
from src.data.digits_datamodule import DigitsDataModule
from src.data.image_datamodule import ImageDataModule, NormalizeImages
from src.models.lit_module import LitModule
from src.train import train

pytestmark = pytest.mark.filterwarnings("ignore")

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true")
CLIPPING = {
    "none": [],
    "norm": ["+trainer.gradient_clip_val=0.5"],
    "value": ["+trainer.gradient_clip_val=0.5", "+trainer.gradient_clip_algorithm=value"],
}


@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize("clipping", CLIPPING)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_each_combination_trains(
    compose_train: Compose, optimizer: str, precision: str, clipping: str, accumulated: int
) -> None:
    typed = [f"model/optimizer={optimizer}", f"+trainer.precision={precision}"]
    typed += [*CLIPPING[clipping], f"+trainer.accumulate_grad_batches={accumulated}"]
    cfg = compose_train("+trainer.max_steps=1", "+trainer.num_sanity_val_steps=0", *typed)
    cfg.test = False
    metrics, objects = train(cfg)
    assert objects["trainer"].global_step == 1
    assert torch.isfinite(metrics["train/loss"])


@pytest.mark.parametrize("scheduler", ["none", "cosine", "one_cycle", "plateau"])
def test_a_scaled_learning_rate_is_that_typed_by_hand(
    compose_train: Compose, scheduler: str
) -> None:
    typed = [f"model/scheduler={scheduler}", "+trainer.accumulate_grad_batches=3"]
    typed += ["seed=1", "test=false"]
    ends = []
    for rate in (["model.optimizer.lr=0.003"], ["model.optimizer.lr=0.001", "model.scale_lr=true"]):
        _, objects = train(compose_train(*typed, *rate))
        ends.append(objects["model"].state_dict())
    for name, values in ends[0].items():
        assert torch.equal(values, ends[1][name])


def test_a_loss_that_is_not_finite_warns_once_or_stops(caplog: pytest.LogCaptureFixture) -> None:
    inputs, targets = torch.ones(24, 3), torch.ones(24, 1)
    inputs[13] = float("nan")
    batches = DataLoader(TensorDataset(inputs, targets), batch_size=4)

    def fit(max_epochs: int, stop: bool) -> None:
        quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=max_epochs,
            log_every_n_steps=2,
            callbacks=[FiniteLoss(stop)],
            **dict.fromkeys(quiet, False),
        )
        trainer.fit(LitModule(nn.Linear(3, 1), nn.MSELoss(), None, torch.optim.Adam), batches)

    with caplog.at_level(logging.WARNING):
        fit(max_epochs=2, stop=False)
    (message,) = [message for message in caplog.messages if "NaN" in message]
    assert "steps 2 to 4" in message
    with pytest.raises(FloatingPointError, match=r"steps 2 to 4.*model\.optimizer\.lr"):
        fit(max_epochs=1, stop=True)


def test_a_run_without_validation_trains_with_plateau(compose_train: Compose) -> None:
    cfg = compose_train("model/scheduler=plateau", "trainer.limit_val_batches=0", "test=false")
    _, objects = train(cfg)
    assert objects["trainer"].global_step == 3


@pytest.mark.slow
@pytest.mark.parametrize("compile", ["true", "reduce-overhead", "{dynamic:false}"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("clipping", CLIPPING)
def test_each_combination_compiles(
    compose_train: Compose, compile: str, precision: str, clipping: str
) -> None:
    typed = [f"model.compile={compile}", f"+trainer.precision={precision}", *CLIPPING[clipping]]
    _, objects = train(compose_train("+trainer.max_steps=2", "test=false", *typed))
    assert objects["trainer"].global_step == 2


def test_matrix_products_in_tf32(compose_train: Compose) -> None:
    former = torch.get_float32_matmul_precision()
    try:
        train(compose_train("float32_matmul_precision=high", "train=false", "test=false"))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(former)


# --- batches -----------------------------------------------------------------------------------


def test_images_travel_as_bytes_and_are_normalised_afterwards() -> None:
    datamodule = DigitsDataModule(batch_size=100)
    datamodule.setup()
    batch = next(iter(datamodule.train_dataloader()))
    images, labels = datamodule.on_after_batch_transfer(batch, 0)
    assert (batch[0].dtype, images.dtype, labels.dtype) == (torch.uint8, torch.float32, torch.int64)
    by_hand = (batch[0].float() / 255 - datamodule.mean[0]) / datamodule.std[0]
    assert torch.allclose(images, by_hand, atol=1e-5)
    wanted = NormalizeImages((0.5, 0.5, 0.5), (1, 1, 1), channels_last=True)
    pixels = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    assert wanted(pixels).is_contiguous(memory_format=torch.channels_last)


class Noted(torch.nn.Module):
    """Note the type of the images; leave them as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.types: list[tuple[torch.dtype, int]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.types.append((images.dtype, len(images)))
        return images


def test_batches_are_augmented_in_training_only(compose_train: Compose) -> None:
    augmentation = Noted()

    class Augmented(ImageDataModule):
        def __init__(self) -> None:
            super().__init__((0.5,), (0.5,), batch_augmentation=augmentation, batch_size=8)

        def setup(self, stage: str | None = None) -> None:
            images = torch.zeros(16, 1, 28, 28, dtype=torch.uint8)
            self.data_train = self.data_val = list(zip(images, torch.zeros(16).long(), strict=True))

    model = train(compose_train("train=false", "test=false"))[1]["model"]
    trainer = pl.Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False)
    trainer.fit(model, Augmented())
    assert augmentation.types == [(torch.uint8, 8)] * 2


# --- a step waits for nothing ------------------------------------------------------------------


class ReadsOfTheHost(TorchDispatchMode):
    """Count where the host reads a number of the device."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "_local_scalar_dense" in str(func):
            self.reads["read"] += 1
        return func(*args, **(kwargs or {}))


def train_with(callback: pl.Callback, cfg: Any) -> None:
    """Train with one more callback, after those that are built from nodes."""
    original = pl.Trainer.fit

    def fit(self: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        self.callbacks.append(callback)  # type: ignore[attr-defined]
        original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pl.Trainer, "fit", fit)
        train(cfg)


@pytest.fixture
def twenty_steps(compose_train: Compose) -> Any:
    """Return the configuration of a run whose loggers do not write within its steps."""
    cfg = compose_train(
        "callbacks=default",
        "logger=csv",
        "model/optimizer=sgd",  # Adam's own step reads its step count on the CPU
        "+trainer.log_every_n_steps=50",
        "test=false",
    )
    cfg.trainer.limit_train_batches = 20
    return cfg


def test_no_step_reads_from_the_device(twenty_steps: Any) -> None:
    counted = ReadsOfTheHost()
    steps: list[int] = []

    class Between(pl.Callback):
        """Count from the end of the first step to the end of the last."""

        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
            steps.append(counted.reads["read"])

    with counted:
        train_with(Between(), twenty_steps)
    assert len(steps) == 20
    assert steps[18] == steps[1], steps  # the first and the last step may differ


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_no_step_waits_for_a_cuda_device(twenty_steps: Any) -> None:
    ended: list[int] = []

    class Forbidding(pl.Callback):
        """Forbid to wait from the end of the second step to that of the last but one."""

        def on_train_batch_end(
            self, trainer: pl.Trainer, model: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            ended.append(batch_idx)
            if batch_idx in (1, 18):
                torch.cuda.set_sync_debug_mode("error" if batch_idx == 1 else "default")

    twenty_steps.trainer.accelerator = "gpu"
    try:
        train_with(Forbidding(), twenty_steps)  # raises where a step waits
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert ended == list(range(20))


# --- speed -------------------------------------------------------------------------------------


class SlowData(Dataset[torch.Tensor]):
    """Items that take a while."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(0.02)
        return torch.zeros(1)


class Line(pl.LightningModule):
    """The smallest model that trains."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.layer(batch).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_run_that_waits_for_data_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.callbacks.device_monitor.MIN_SECONDS", 0.1)
    speed = TrainingSpeed()
    logger = pl.loggers.CSVLogger(tmp_path)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=logger,
        callbacks=[speed],
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    with caplog.at_level(logging.WARNING):
        trainer.fit(Line(), DataLoader(SlowData(), batch_size=4))
    with Path(logger.log_dir, "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["system/waiting_for_data"]]
    assert len(rows) == 2
    for row in rows:
        assert 0.5 < float(row["system/waiting_for_data"]) <= 1
        assert 0 < float(row["system/samples_per_second"]) <= 4 / 0.08
    assert "of the time waiting for data" in speed.final_summary["speed"]
    warnings = [r.message for r in caplog.records if "Training waits for data" in r.message]
    assert len(warnings) == 1
    assert "data.num_workers=0" in warnings[0]


def test_running_out_of_memory_is_one_line_with_what_to_type(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.models.mnist_module.MNISTLitModule.training_step", run_out_of_memory)
    small = ("data=digits", "logger=none", "trainer=cpu", "trainer.max_epochs=1")
    failed = command(*small, "callbacks=default", "data.batch_size=32")
    assert failed.code == 1
    (line,) = failed.err.strip().splitlines()[-1:]
    assert line.startswith("Error: cpu is out of memory (batch size 32). Type data.batch_size=16 ")
    assert "Traceback" not in failed.err
    monkeypatch.undo()
    advised = re.search(r"data\.batch_size=16 (\+\S+),", line)
    assert advised
    passed = command(*small, "callbacks=none", "data.batch_size=16", advised[1])
    assert passed.code == 0, passed.err


def run_out_of_memory(self: Any, batch: Any, batch_idx: int) -> Any:
    """Raise what CUDA raises."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. " * 9)


class Endless(IterableDataset[torch.Tensor]):
    """Items without a number."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        while True:
            yield torch.zeros(1)


class Hungry(Line):
    """Raise what CUDA raises."""

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")


def test_out_of_memory_with_data_that_have_no_length() -> None:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    trainer = pl.Trainer(accelerator="cpu", callbacks=[OutOfMemoryAdvice()], **quiet)
    with pytest.raises(torch.OutOfMemoryError, match=r"batch size 4.*data\.batch_size=2"):
        trainer.fit(Hungry(), DataLoader(Endless(), batch_size=4))
