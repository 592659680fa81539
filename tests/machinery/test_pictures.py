"""The callbacks that draw leave no trace: the weights and what hooks see are as without them."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from lightning_code import Classifier, ImageClassifier, OfDicts
from lightning_data import BATCH, CLASSES, EVAL, TRAIN, DictData, ImageData, PlainData
from torch import Tensor

from src.callbacks import pictures
from src.callbacks.finite_loss import FiniteLoss
from src.callbacks.log_images import ConfusionMatrix, LogBatch, LogImages

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Observed(ImageClassifier):
    """Dropout in evaluation too, a buffer that counts calls, and a hook that collects features."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.features: list[Tensor] = []
        self.net.register_forward_hook(lambda module, args, out: self.features.append(out.detach()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.net(F.dropout(x, 0.5, training=True)) * (1 + 0.1 * self.calls)

    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            assert sum(map(len, self.features)) == TRAIN + EVAL
        self.features.clear()


class CallsNet(ImageClassifier):
    """Steps that call the net, not the module."""

    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("nobody calls this")


class Pairs(ImageClassifier):
    """A forward that returns more than logits."""

    def forward(self, x: Tensor) -> Any:
        return self.net(x), x

    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self(batch[0])[0], batch[1])


class Fails(ImageClassifier):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if not self.trainer.sanity_checking:
            raise ArithmeticError


class Uneven(Classifier):
    """A loss per sample; batches of different sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        size = BATCH - 3 * (batch_idx % 2)
        losses = F.cross_entropy(self.net(batch[0][:size]), batch[1][:size], reduction="none")
        self.optimizers().zero_grad()
        self.manual_backward(losses, gradient=torch.ones_like(losses) / size)
        self.optimizers().step()


def drawing(folder: Path) -> list[Callback]:
    return [kind(str(folder)) for kind in (LogBatch, LogImages, ConfusionMatrix)]


def trained(
    model: type[L.LightningModule], callbacks: list[Callback], data: Any = None
) -> L.LightningModule:
    """Fit and test a module by plain Lightning."""
    L.seed_everything(3, verbose=False)
    module = model()
    trainer = L.Trainer(
        accelerator="cpu",
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        logger=False,
        max_epochs=2,
    )
    trainer.fit(module, data or ImageData())
    trainer.test(module, data or ImageData(), verbose=False)
    return module


def test_weights_are_those_of_plain_lightning(tmp_path: Path) -> None:
    without = trained(Observed, []).state_dict()
    drawn = trained(Observed, drawing(tmp_path)).state_dict()
    assert len(list(tmp_path.glob("*.png"))) == 4
    for name, value in without.items():
        assert torch.equal(value, drawn[name]), name


def test_the_matrix_counts_the_predictions_of_the_test(tmp_path: Path) -> None:
    callbacks = drawing(tmp_path)
    module = trained(Observed, callbacks)
    found = torch.cat(module.features)
    labels = torch.cat([y for _, y in ImageData().test_dataloader()])
    cells = labels * CLASSES + found.argmax(1)
    expected = torch.bincount(cells, minlength=CLASSES**2).view(CLASSES, CLASSES)
    assert torch.equal(callbacks[2].metric.compute(), expected)


NO_LOGITS = [
    f"{step}_step does not call self(images), or gets no logits (B, K)"
    for step in ("validation", "test")
]


@pytest.mark.parametrize(
    ("model", "data", "reasons"),
    [
        (CallsNet, ImageData, NO_LOGITS),
        (Pairs, ImageData, NO_LOGITS),
        (Classifier, PlainData, [pictures.NO_IMAGES]),
        (OfDicts, DictData, [pictures.NO_IMAGES]),
    ],
)
def test_one_line_says_why_there_are_no_pictures(
    model: Any, data: Any, reasons: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        trained(model, drawing(tmp_path), data())
    found = [record.getMessage() for record in caplog.records if record.name.startswith("src.")]
    assert found == [f"No pictures: {reason}" for reason in reasons]


def test_no_hook_is_left_behind(tmp_path: Path) -> None:
    callbacks = drawing(tmp_path)
    with pytest.raises(ArithmeticError):
        trained(Fails, callbacks)
    assert callbacks[1].handle is None


class Named(ImageData):
    class_names: Any = None

    def mean(self, axis: int = 0) -> float:
        return 0.0


def test_names_and_scales_that_are_none() -> None:
    data = Named()
    images = torch.full((1, 3, 2, 2), 0.5)
    assert pictures.names_of([2, 0], data) == ["2", "0"]
    assert int(pictures.rgb_pixels(images, data).max()) == 127
    data.class_names = {2: "cat", 0: "dog"}
    assert pictures.names_of([2, 0, 1], data) == ["cat", "dog", "1"]
    data.class_names = np.array(["a", "b"])
    assert pictures.names_of([1, 2], data) == ["b", "2"]


def test_a_loss_per_sample(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        trained(Uneven, [FiniteLoss()], PlainData())
    assert not [record for record in caplog.records if record.name.startswith("src.")]
