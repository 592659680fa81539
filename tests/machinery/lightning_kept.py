"""Modules that need what plain `torch.save` keeps: kinds of containers, versions, their own names."""

from collections import Counter, OrderedDict
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning_code import Classifier, linear
from lightning_data import CLASSES, FEATURES, TRAIN
from torch import Tensor, nn
from torch.optim import Adam


class Scale(nn.Module):
    """A layer that converts the weights of its older versions."""

    _version = 3

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("variance", torch.full((FEATURES,), 2.0))

    def forward(self, x: Tensor) -> Tensor:
        return x / self.variance.sqrt()

    def _load_from_state_dict(self, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
        if (metadata.get("version") or 0) < self._version:
            state[prefix + "variance"] = state[prefix + "variance"] - 0.5
        super()._load_from_state_dict(state, prefix, metadata, *rest)


class Versioned(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(Scale(), linear())

    def on_train_start(self) -> None:
        assert self.net[0].variance.eq(2).all()

    on_test_start = on_train_start


class QuantizedTeacher(Classifier):
    """A teacher with packed weights, which a version describes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        layers = {nn.Linear}
        self.teacher = torch.ao.quantization.quantize_dynamic(linear().eval(), layers)

    def loss(self, batch: Any) -> Tensor:
        difference = self.net(batch[0]) - self.teacher(batch[0])
        return super().loss(batch) + difference.pow(2).mean()


class Table(Classifier):
    """A table whose keys are tuples."""

    def __init__(self) -> None:
        super().__init__()
        self.table: dict[Any, float] = {}

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        for label in batch[1].tolist():
            self.table[batch_idx, label] = self.table.get((batch_idx, label), 0.0) + 1

    def on_train_epoch_end(self) -> None:
        assert sum(self.table.values()) == TRAIN * (self.current_epoch + 1)
        assert all(isinstance(key, tuple) for key in self.table)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["table"] = self.table

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.table = checkpoint["table"]


class Containers(Classifier):
    """A set, a counter, an ordered dictionary and bytes, all of which it goes on to change."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = {"seen": set(), "counts": Counter(), "order": OrderedDict(a=1, b=2)}
        self.kept["bytes"] = bytearray(b"ab")

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.kept["seen"].add(batch_idx)
        self.kept["counts"].update(batch[1].tolist())
        self.kept["order"].move_to_end("a")
        self.kept["bytes"].append(1)

    def on_train_epoch_end(self) -> None:
        assert sum(self.kept["counts"].values()) == TRAIN * (self.current_epoch + 1)
        assert self.kept["counts"][99] == 0

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["kept"] = self.kept

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.kept = checkpoint["kept"]


@dataclass
class Widths:
    hidden: list[int] = field(default_factory=lambda: [4])


@dataclass
class Config:
    widths: Widths = field(default_factory=Widths)
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    dtype: torch.dtype = torch.float32


class OfConfig(Classifier):
    """A dataclass of dataclasses, which it writes into the checkpoint as `config`."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.lr)
        assert isinstance(config.widths, Widths)
        self.save_hyperparameters(asdict(config))
        self.config = config
        hidden = [nn.LazyLinear(width) for width in config.widths.hidden]
        self.net = nn.Sequential(*hidden, nn.LazyLinear(CLASSES))

    def configure_optimizers(self) -> Any:
        return Adam(self.parameters(), self.config.lr, betas=tuple(self.config.betas))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = asdict(self.config)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert checkpoint["config"]["widths"]["hidden"] == [4]


class OwnBest(Classifier):
    """Its own checkpoint of the best epoch, which is the first one."""

    def configure_callbacks(self) -> Any:
        return ModelCheckpoint(monitor="val_loss", mode="max", save_weights_only=True)
