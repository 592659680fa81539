"""Modules with metrics, states and arguments of unusual kinds."""

import copy
import pickle
import random
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_code import Classifier
from lightning_data import CLASSES, FEATURES
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torchmetrics import Accuracy, CatMetric, MeanMetric, MetricCollection, MetricTracker
from torchmetrics.wrappers import BootStrapper, ClasswiseWrapper, MinMaxMetric, Running

# --- metrics ------------------------------------------------------------------------------------


class MetricsOfMetrics(Classifier):
    """The wrappers of torchmetrics, and arithmetic with metrics."""

    def __init__(self) -> None:
        super().__init__()
        accuracy = Accuracy("multiclass", num_classes=CLASSES)
        self.best = MinMaxMetric(accuracy.clone())
        self.sampled = BootStrapper(accuracy.clone(), num_bootstraps=3)
        self.classes = ClasswiseWrapper(Accuracy("multiclass", num_classes=CLASSES, average=None))
        self.running = Running(MeanMetric(), window=2)
        self.mixed = accuracy.clone() + MeanMetric() * 0
        self.largest = CatMetric()
        both = MetricCollection({"a": accuracy.clone(), "b": accuracy.clone()})
        self.tracker = MetricTracker(both, maximize=[True, True])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.running(loss.detach())
        self.log("train/running", self.running, on_step=True, on_epoch=False)
        return loss

    def on_validation_epoch_start(self) -> None:
        self.tracker.increment()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        logits = self(batch[0])
        for metric in (self.best, self.sampled, self.classes, self.tracker):
            metric.update(logits, batch[1])
        self.largest.update(logits.max(1).values)

    def on_validation_epoch_end(self) -> None:
        for metric in (self.best, self.sampled, self.classes):
            self.log_dict({f"val/{k}": v.float() for k, v in metric.compute().items()})
        self.log("val/median", self.largest.compute().median())
        self.log("val/best", self.tracker.best_metric()["a"] or 0.0)
        for metric in (self.sampled, self.classes, self.largest):
            metric.reset()


# --- state --------------------------------------------------------------------------------------


class RandomStates(Classifier):
    """A generator of its own, states of the others, a pickle in bytes, and NumPy values."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        noise = 0.1 * torch.randn(batch[0].shape, generator=self.generator)
        return super().training_step([batch[0] + noise, batch[1]], batch_idx)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["states"] = {"own": self.generator.get_state(), "torch": torch.get_rng_state()}
        checkpoint["states"] |= {"python": random.getstate(), "numpy": np.random.get_state()}
        checkpoint["pickled"] = pickle.dumps({"a": Path("a")})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        states = checkpoint["states"]
        self.generator.set_state(states["own"])
        torch.set_rng_state(states["torch"])
        random.setstate(states["python"])
        np.random.set_state(states["numpy"])
        assert pickle.loads(checkpoint["pickled"])["a"] == Path("a")


class RenamesWeights(Classifier):
    """Other names in the checkpoint, and one entry more."""

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        found = super().state_dict(*args, **kwargs).items()
        renamed = OrderedDict((name.replace("net.", "model.part."), v) for name, v in found)
        renamed["note"] = torch.tensor(7)
        return renamed

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        assert int(state_dict["note"]) == 7
        items = [(name, value) for name, value in state_dict.items() if name != "note"]
        renamed = {name.replace("model.part.", "net."): value for name, value in items}
        return super().load_state_dict(renamed, strict=strict)


class Copies(Classifier):
    """Copies and exports itself while it trains; an example of several inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.example_input_array = {"x": torch.zeros(2, FEATURES), "scale": torch.ones(1)}

    def forward(self, x: Tensor, scale: Any = 1.0) -> Tensor:
        return self.net(x) * scale

    def on_train_start(self) -> None:
        self.__dict__["twin"] = copy.deepcopy(self)
        assert pickle.loads(pickle.dumps(self.net)) is not None

    def on_train_end(self) -> None:
        self.twin.load_state_dict(self.state_dict())
        traced = torch.jit.trace(self.net, torch.zeros(1, FEATURES))
        assert traced(torch.zeros(1, FEATURES)).shape == (1, CLASSES)


# --- arguments ----------------------------------------------------------------------------------


class OfNamespace(Classifier):
    """One argument that holds all: a Namespace, or a dictionary of the same."""

    def __init__(self, hparams: Namespace | dict[str, Any]) -> None:
        super().__init__()
        given = hparams if isinstance(hparams, dict) else vars(hparams)
        self.save_hyperparameters(Namespace(**({"lr": 0.1, "width": 8} | given)))
        width = self.hparams.width
        self.net = nn.Sequential(nn.Linear(FEATURES, width), nn.Linear(width, CLASSES))

    def configure_optimizers(self) -> Any:
        return Adam(self.parameters(), lr=self.hparams.lr)


class OfAttributes(Classifier):
    """`cfg.net.width`, as of OmegaConf's containers."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg.optim.get("lr", 0.1))
        self.save_hyperparameters(cfg)
        self.net = nn.Sequential(nn.Linear(FEATURES, cfg.net.width), nn.LazyLinear(CLASSES))


class OfClassPath(Classifier):
    """Names of classes that it imports itself, callables, and classes."""

    def __init__(
        self,
        encoder: dict[str, Any],
        optimizer: Callable[..., Optimizer] = Adam,
        scheduler: Any = None,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["activation"])
        module, _, name = encoder["class_path"].rpartition(".")
        layer = getattr(import_module(module), name)(**encoder["init_args"])
        self.net = nn.Sequential(layer, activation(), nn.Linear(4, CLASSES))
        self.optimizer, self.scheduler = optimizer, scheduler

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.parameters())
        return [optimizer], [self.scheduler(optimizer)]
