"""Modules and DataModules of text, speech, series and ratings, with batches of their own."""

from collections import OrderedDict, UserDict
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning_code import Classifier
from lightning_data import (
    BATCH,
    CLASSES,
    EVAL,
    FEATURES,
    PlainData,
    stacked,
)
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.optim import Adam, AdamW, RMSprop, SparseAdam, lr_scheduler
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MetricCollection
from torchmetrics.retrieval import RetrievalMRR, RetrievalNormalizedDCG


class Encoding(UserDict):
    """As of a tokenizer: no dict, with attributes and `to`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self.data[name]
        except KeyError:
            raise AttributeError(name) from None

    def to(self, device: Any, **_: Any) -> "Encoding":
        self.data = {name: value.to(device) for name, value in self.data.items()}
        return self


def as_tokens(items: list[Any]) -> Encoding:
    x, y = stacked(items)
    tokens = (x > 0).long()
    return Encoding({"tokens": tokens, "mask": torch.ones_like(tokens), "labels": y})


class TokenData(PlainData):
    collate = as_tokens


class Output(OrderedDict):
    """As of a pretrained model: attributes, names and indices."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(name)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else list(self.values())[key]


class TextClassifier(Classifier):
    """`self(**batch)`, weight decay for some parameters, a warm-up that counts all steps."""

    def __init__(self, warm_up: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.embedding = nn.Embedding(2, 8)
        self.net = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(8, CLASSES)
        self.found: list[Tensor] = []

    def forward(self, **batch: Tensor) -> Output:  # type: ignore[override]
        embedded = self.embedding(batch["tokens"])
        hidden = self.net(embedded, src_key_padding_mask=batch["mask"] == 0)
        logits = self.head(hidden.mean(1))
        return Output(loss=F.cross_entropy(logits, batch["labels"]), logits=logits)

    def loss(self, batch: Any) -> Tensor:
        return self(**batch)[0]

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.log("lr", self.lr_schedulers().get_last_lr()[0], prog_bar=True)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.found.append(self(**batch)[1].argmax(1) == batch.labels)

    def on_validation_epoch_end(self) -> None:
        self.log("accuracy", float(torch.cat(self.found).numpy().mean()), prog_bar=True)
        self.found.clear()

    def configure_optimizers(self) -> Any:
        kinds: dict[bool, list[Any]] = {True: [], False: []}
        for name, parameter in self.named_parameters():
            kinds["bias" in name or "norm" in name].append(parameter)
        groups = [{"params": kinds[False]}, {"params": kinds[True], "weight_decay": 0.0}]
        optimizer = AdamW(groups, lr=1e-2)
        total, warm_up = self.trainer.estimated_stepping_batches, self.hparams.warm_up
        scheduler = lr_scheduler.LambdaLR(
            optimizer, lambda step: min(step / warm_up, max(0.0, 1 - step / total))
        )
        return [optimizer], [{"scheduler": scheduler, "interval": "step", "frequency": 1}]


def as_speech(items: list[Any]) -> Any:
    audio = [x.repeat(3)[: 12 + 2 * i, None] for i, (x, _) in enumerate(items)]
    texts = [torch.arange(2 + i % 3) + 1 for i in range(len(items))]
    lengths = [[len(part) for part in parts] for parts in (audio, texts)]
    return pad_sequence(audio, True), pad_sequence(texts, True), *lengths


class SpeechData(PlainData):
    collate = as_speech


class Recognizer(Classifier):
    """Outputs of different lengths; the predictions of a test become a file."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.GRU(1, 4, batch_first=True)
        self.rows: list[str] = []

    def loss(self, batch: Any) -> Tensor:
        audio, texts, *lengths = batch
        found = self.net(audio)[0].log_softmax(2).transpose(0, 1)
        return F.ctc_loss(found, texts, *lengths, zero_infinity=True)

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        super().test_step(batch, batch_idx)
        self.rows += [" ".join(map(str, row)) for row in batch[1].tolist()]
        return {"texts": self.rows}

    def on_test_end(self) -> None:
        folder = Path(self.trainer.log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "predictions.txt").write_text("\n".join(self.rows))
        assert len(self.rows) == EVAL


class Windows(Dataset[Any]):
    """Parts of a series, and what follows them."""

    def __init__(self, series: np.ndarray, length: int, horizon: int) -> None:
        self.series, self.length, self.horizon = series, length, horizon

    def __len__(self) -> int:
        return len(self.series) - self.length - self.horizon + 1

    def __getitem__(self, i: int) -> Any:
        end = i + self.length
        return self.series[i:end], self.series[end : end + self.horizon, 0], np.int64(i)


class SeriesData(L.LightningDataModule):
    """A scaler that is fitted in `setup`; only the sets of the stage; a size as a property."""

    def __init__(self, length: int = 6, horizon: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.prepare_data_per_node = False
        self.scaler: Any = None

    def windows(self, series: np.ndarray) -> Windows:
        scaled = self.scaler.transform(series).astype(np.float32)
        return Windows(scaled, self.hparams.length, self.hparams.horizon)

    def setup(self, stage: str | None = None) -> None:
        time = np.arange(80, dtype=np.float32)
        series = np.stack([np.sin(time / 5) * 10 + 100, np.cos(time / 5)], 1)
        if self.scaler is None:
            self.scaler = StandardScaler().fit(series[:50])
        if stage in ("fit", "validate", None):
            self.train, self.val = self.windows(series[:50]), self.windows(series[50:65])
        if stage in ("test", "predict", None):
            self.test = self.windows(series[58:])

    @property
    def num_inputs(self) -> int:
        return 2

    def train_dataloader(self) -> Any:
        return DataLoader(self.train, BATCH, shuffle=False)

    def val_dataloader(self) -> Any:
        return DataLoader(self.val, BATCH)

    def test_dataloader(self) -> Any:
        return DataLoader(self.test, BATCH)


class Forecaster(Classifier):
    """Undoes the scaling of the datamodule; a plateau of a metric in natural units."""

    def __init__(self, num_inputs: int, horizon: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net, self.head = nn.GRU(num_inputs, 8, batch_first=True), nn.Linear(8, horizon)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        return self.head(self.net(x, hidden)[0][:, -1])

    def loss(self, batch: Any) -> Tensor:
        return F.smooth_l1_loss(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        error = (self(batch[0]) - batch[1]).numpy() * self.trainer.datamodule.scaler.scale_[0]
        self.log("val_error", float(np.sqrt((error**2).mean())))

    def configure_optimizers(self) -> Any:
        optimizer = RMSprop(self.parameters(), lr=0.01)
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        settings = {"scheduler": scheduler, "monitor": "val_error", "strict": True, "name": None}
        return {"optimizer": optimizer, "lr_scheduler": settings}


def as_ratings(items: list[Any]) -> Any:
    x, y = stacked(items)
    return {"user": y, "item": x.argmax(1), "clicked": x[:, 0] > 0}


class Ratings(PlainData):
    collate = as_ratings


class TwoTowers(Classifier):
    """Sparse gradients with their own optimizer; metrics of rankings by user."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.users = nn.Embedding(CLASSES, 4, sparse=True)
        self.items = nn.Embedding(FEATURES, 4, sparse=True)
        self.net = nn.Linear(1, 1)
        metrics = {"gain": RetrievalNormalizedDCG(top_k=3), "rank": RetrievalMRR()}
        self.metrics = MetricCollection(metrics, prefix="val/")

    def forward(self, user: Tensor, item: Tensor) -> Tensor:  # type: ignore[override]
        return self.net((self.users(user) * self.items(item)).sum(1, keepdim=True)).squeeze(1)

    def loss(self, batch: Any) -> Tensor:
        scores = self(batch["user"], batch["item"])
        return F.binary_cross_entropy_with_logits(scores, batch["clicked"].float())

    def training_step(self, batch: Any, batch_idx: int) -> None:
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        for optimizer in self.optimizers():
            optimizer.step()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores = self(batch["user"], batch["item"])
        self.metrics.update(scores, batch["clicked"], indexes=batch["user"])
        self.log_dict(self.metrics, on_epoch=True, batch_size=BATCH)

    def configure_optimizers(self) -> Any:
        sparse = SparseAdam([*self.users.parameters(), *self.items.parameters()])
        return sparse, Adam(self.net.parameters())
