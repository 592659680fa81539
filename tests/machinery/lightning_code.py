"""LightningModules as people write them, without knowledge of the template: ordinary and odd."""

import datetime
import enum
import warnings
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    Callback,
    EarlyStopping,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
)
from lightning_data import CLASSES, FEATURES, Batch, PlainData
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, lr_scheduler
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from torchmetrics import Accuracy, MeanMetric, MetricCollection, MetricTracker, Precision


def linear(inputs: int = FEATURES) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, CLASSES))


class Classifier(L.LightningModule):
    """The ordinary one; the others override a part of it."""

    def __init__(self, lr: float = 0.1, inputs: int = FEATURES) -> None:
        super().__init__()
        self.lr = lr
        self.net = linear(inputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def loss(self, batch: Any) -> Tensor:
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.log("train_loss", loss, batch_size=8)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("val_loss", self.loss(batch), prog_bar=True, batch_size=8)

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("test_loss", self.loss(batch), batch_size=8)

    def configure_optimizers(self) -> Any:
        return Adam(self.parameters(), lr=self.lr)


class ImageClassifier(Classifier):
    """Predicts images: the default callbacks draw them."""

    def __init__(self) -> None:
        super().__init__(inputs=192)


# --- what is there, and what is not ------------------------------------------------------------


class OnlyTraining(L.LightningModule):
    """The fewest methods that Lightning accepts."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = linear()

    def training_step(self, batch: Any) -> Tensor:
        return F.cross_entropy(self.layer(batch[0]), batch[1])

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=0.1)


class NoTestStep(ImageClassifier):
    test_step = pl.LightningModule.test_step


class NoForward(ImageClassifier):
    forward = pl.LightningModule.forward


class ForwardOfTwo(ImageClassifier):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        return F.cross_entropy(self.net(x), y)

    def loss(self, batch: Any) -> Tensor:
        return self(*batch)


class ForwardOfBatch(Classifier):
    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return batch | {"logits": self.net(batch["x"])}

    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self(batch)["logits"], batch["y"])


class TupleOutputs(ImageClassifier):
    """A forward whose result is no tensor, and steps that return dictionaries."""

    def forward(self, x: Tensor) -> Any:
        return self.net(x), {"hidden": x.mean()}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return {"loss": self.loss(batch), "logits": self(batch[0])[0].detach(), "text": "a"}


class OwnLoaders(Classifier):
    """No datamodule."""

    def train_dataloader(self) -> Any:
        return PlainData().train_dataloader()

    def val_dataloader(self) -> Any:
        return PlainData().val_dataloader()

    def test_dataloader(self) -> Any:
        return PlainData().test_dataloader()


class OwnTrainLoader(OnlyTraining):
    def train_dataloader(self) -> Any:
        return PlainData().train_dataloader()


class Lazy(Classifier):
    """Layers without a size until the first batch."""

    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.net = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(CLASSES))


class LazyFromSetup(Lazy):
    """As Lightning's documentation does it: a batch in `setup`."""

    def setup(self, stage: str) -> None:
        with torch.no_grad():
            self.net(torch.zeros(1, FEATURES))


class ConfigureModel(Classifier):
    def __init__(self) -> None:
        super(Classifier, self).__init__()
        self.lr, self.net = 0.1, None

    def configure_model(self) -> None:
        if self.net is None:
            self.net = linear()


class BuiltInSetup(Classifier):
    """Layers whose size the datamodule knows after its `setup`."""

    def __init__(self) -> None:
        super(Classifier, self).__init__()
        self.lr, self.net = 0.1, None

    def setup(self, stage: str) -> None:
        if self.net is None:
            datamodule: Any = self.trainer.datamodule
            self.net = linear(datamodule.num_features)


class Compiled(Classifier):
    """Compiled from the start: the names of the weights have a prefix."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.compile(self.net, backend="eager")


class CompiledInSetup(Classifier):
    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.net = torch.compile(self.net, backend="eager")


class Nested(Classifier):
    """LightningModules inside."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.teacher = Classifier(), Classifier().requires_grad_(False)
        self.save_hyperparameters(ignore=["net"])

    def loss(self, batch: Any) -> Tensor:
        difference = self.net(batch[0]) - self.teacher(batch[0])
        return self.net.loss(batch) + difference.pow(2).mean()


class Tied(Classifier):
    """Shared weights, a parametrized layer, and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.utils.parametrizations.weight_norm(nn.Linear(FEATURES, FEATURES))
        self.net = nn.Sequential(first, first, nn.Linear(FEATURES, CLASSES))
        self.again = self.net[2]
        self.register_buffer("seen", torch.zeros(()), persistent=False)


# --- arguments and hyperparameters -------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"


class HparamsOfEverything(Classifier):
    """`save_hyperparameters()` as in Lightning's documentation, whatever the arguments are."""

    def __init__(
        self, net: nn.Module, optimizer: Callable[..., Optimizer], folder: str, lr: float = 0.1
    ) -> None:
        super().__init__(lr)
        folder, scale = Path(folder), np.float32(2.0)  # type: ignore[assignment]
        self.save_hyperparameters()
        self.hparams.update(
            scale=scale,
            colour=Colour.RED,
            day=datetime.date(2026, 11, 1),
            nested=OmegaConf.create({"a": [1, 2]}),
            table=np.eye(2),
            function=np.tanh,
        )
        self.net = net

    def configure_optimizers(self) -> Any:
        return self.hparams["optimizer"](params=self.parameters())


@dataclass
class Settings:
    lr: float = 0.1
    folder: Path = Path("a")


class HparamsOfObjects(Classifier):
    def __init__(self, lr: float = 0.1) -> None:
        super().__init__(lr)
        settings = Namespace(lr=np.float64(lr), settings=Settings(), kinds={"a", "b"})
        self.save_hyperparameters(settings, logger=False)


class OptionalArguments(Classifier):
    def __init__(self, dropout: float = None, net: nn.Module = None, lr: "float" = 0.1) -> None:  # noqa: RUF013
        super().__init__(lr)
        assert dropout is None
        self.net = net or self.net


class BuildsItself(Classifier):
    """Gets nodes, and instantiates them itself: `_recursive_: false`, as in Hydra's examples."""

    def __init__(self, net: Any, optimizer: Any) -> None:
        super().__init__()
        self.save_hyperparameters()
        assert optimizer.lr == 0.1
        self.net = instantiate(net)

    def configure_optimizers(self) -> Any:
        return instantiate(self.hparams.optimizer, params=self.parameters())


class AnyArguments(Classifier):
    def __init__(self, *layers: int, **settings: Any) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.settings = settings


class NeedsSizes(Classifier):
    """`num_features: ???` is what the datamodule knows."""

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Linear(num_features, num_classes)


# --- optimization ------------------------------------------------------------------------------


class ByHand(L.LightningModule):
    """A GAN: two optimizers and two schedulers by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.critic = nn.Linear(2, FEATURES), nn.Linear(FEATURES, 1)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        first, second = self.optimizers()
        fake = self.generator(torch.randn(len(batch[0]), 2))
        for optimizer, sign in ((first, -1), (second, 1)):
            self.toggle_optimizer(optimizer)
            loss = sign * self.critic(fake if sign < 0 else fake.detach()).mean()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            self.untoggle_optimizer(optimizer)
            self.log_dict({f"loss/{sign}": loss}, prog_bar=True)
        if self.trainer.is_last_batch:
            for scheduler in self.lr_schedulers():
                scheduler.step()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/score", self.critic(batch[0]).mean())

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test/score", self.critic(batch[0]).mean())

    def configure_optimizers(self) -> Any:
        optimizers = [Adam(self.generator.parameters()), Adam(self.critic.parameters())]
        return optimizers, [lr_scheduler.StepLR(o, 1) for o in optimizers]


class AccumulatesByHand(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.manual_backward(self.loss(batch))
        if self.trainer.is_last_batch:
            self.optimizers().step()
            self.optimizers().zero_grad()


class LBFGS(Classifier):
    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), max_iter=2)


class NoOptimizer(Classifier):
    def configure_optimizers(self) -> None:
        return None


class Groups(Classifier):
    """Groups of parameters, and names in them."""

    def configure_optimizers(self) -> Any:
        weight, bias = self.net[1].weight, self.net[1].bias
        groups = [{"params": [weight], "name": "weights"}, {"params": [bias], "weight_decay": 0.0}]
        return AdamW(groups, lr=self.lr, amsgrad=True)


class EachStep(Classifier):
    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=self.lr, momentum=0.9)
        total = int(self.trainer.estimated_stepping_batches)
        scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=total)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step", "name": "lr/one"},
        }


class EachEpoch(Classifier):
    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=self.lr)
        warm_up = lr_scheduler.LinearLR(optimizer, total_iters=1)
        cosine = lr_scheduler.CosineAnnealingLR(optimizer, 3)
        return [optimizer], [lr_scheduler.SequentialLR(optimizer, [warm_up, cosine], [1])]


class Plateau(Classifier):
    def configure_optimizers(self) -> Any:
        optimizer = Adam(self.parameters())
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": scheduler, "monitor": "val_loss"}


class PlateauOfTraining(OnlyTraining):
    def training_step(self, batch: Any) -> Tensor:
        loss = super().training_step(batch)
        self.log("loss", loss, on_epoch=True, on_step=True)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=0.1)
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer)
        settings = {"scheduler": scheduler, "monitor": "loss_epoch", "strict": False}
        return [optimizer], [settings]


class WarmUp:
    """A factor that has a state of its own, which `LambdaLR` saves."""

    def __init__(self) -> None:
        self.calls, self.table, self.folder = 0, np.linspace(0, 1, 4), Path("a")

    def __call__(self, epoch: int) -> float:
        self.calls += 1
        return float(self.table[min(epoch, 3)])


class Lambdas(Classifier):
    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=self.lr)
        both = [lr_scheduler.LambdaLR(optimizer, f) for f in (lambda e: 0.9**e, WarmUp())]
        return [optimizer], both


class OwnScheduler:
    """As timm's: no `LRScheduler`, and steps with the epoch."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer, self.epoch = optimizer, 0

    def step(self, epoch: int) -> None:
        self.epoch = epoch
        self.optimizer.param_groups[0]["lr"] = 0.1 / (1 + epoch)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": np.int64(self.epoch), "function": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = int(state["epoch"])


class SchedulerStep(Classifier):
    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=self.lr)
        return [optimizer], [{"scheduler": OwnScheduler(optimizer), "interval": "epoch"}]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        scheduler.step(epoch=self.current_epoch)


class OwnOptimizer(SGD):
    """Keeps a state that is no plain data."""

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"history": OrderedDict(a=np.float64(1.0)), "run": print}


class Hooks(Classifier):
    """The hooks of optimization, overridden."""

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        loss.backward(*args, **kwargs)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        optimizer.step(closure=optimizer_closure)
        for group in optimizer.param_groups:
            group["lr"] = self.lr / (1 + self.trainer.global_step)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        optimizer.zero_grad(set_to_none=False)

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        self.clip_gradients(optimizer, gradient_clip_val=0.5, gradient_clip_algorithm="norm")

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        self.log_dict({f"grad/{k}": v.grad.norm() for k, v in self.named_parameters()})

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        return -1 if batch_idx == 2 else None  # the rest of the epoch is skipped

    def configure_optimizers(self) -> Any:
        return OwnOptimizer(self.parameters(), lr=self.lr)


class SkipsBatches(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        return None if batch_idx == 1 else super().training_step(batch, batch_idx)


class Average(Classifier):
    """A moving average of its own, validated in place of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.average = AveragedModel(self.net)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.average.update_parameters(self.net)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self.average(batch[0]), batch[1]))


class FineTuned(Classifier):
    """A frozen backbone; a callback thaws it, and adds its parameters to the optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(FEATURES, FEATURES)
        self.net = nn.Sequential(self.backbone, nn.Linear(FEATURES, CLASSES))

    def configure_callbacks(self) -> Any:
        return BackboneFinetuning(unfreeze_backbone_at_epoch=1)

    def configure_optimizers(self) -> Any:
        return Adam((p for p in self.parameters() if p.requires_grad), lr=self.lr)


# --- callbacks, metrics and logging ------------------------------------------------------------


class LogsForModel(Callback):
    """The monitored metric comes from here."""

    def on_validation_epoch_end(self, trainer: Any, pl_module: L.LightningModule) -> None:
        pl_module.log("callback_score", float(trainer.current_epoch))


class OwnCallbacks(Classifier):
    def configure_callbacks(self) -> Any:
        stop = EarlyStopping("val_loss", patience=5)
        best = ModelCheckpoint(monitor="val_loss", mode="min", save_last=True, save_top_k=2)
        return [stop, best, LearningRateMonitor()]


class MonitoredByCallback(Classifier):
    def configure_callbacks(self) -> Any:
        return [LogsForModel()]


class LogsAccuracy:
    """A mixin that logs what is monitored."""

    def on_validation_epoch_end(self: Any) -> None:
        self.log("val_acc", 0.5 + 0.1 * self.current_epoch)


class MonitoredByMixin(LogsAccuracy, Classifier):
    pass


class Collections(Classifier):
    """Collections with prefixes, a dictionary of metrics, and a tracker of the best."""

    def __init__(self) -> None:
        super().__init__()
        kinds = {"acc": Accuracy("multiclass", num_classes=CLASSES)}
        kinds["precision"] = Precision("multiclass", num_classes=CLASSES, average="macro")
        metrics = MetricCollection(kinds)
        stages = ("train", "val", "test")
        self.metrics = nn.ModuleDict({f"m_{s}": metrics.clone(prefix=f"{s}/") for s in stages})
        self.mean = MeanMetric()
        self.mean.persistent(True)
        self.tracker = MetricTracker(MeanMetric(), maximize=False)

    def step(self, batch: Any, stage: str) -> Tensor:
        x, y = batch
        logits = self.net(x)
        self.metrics[f"m_{stage}"](logits, y)
        self.log_dict(self.metrics[f"m_{stage}"], on_step=stage == "train", on_epoch=True)
        return F.cross_entropy(logits, y)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.step(batch, "train")
        self.mean(loss)
        self.log("train/mean", self.mean)
        return loss

    def on_validation_epoch_start(self) -> None:
        self.tracker.increment()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.tracker.update(self.step(batch, "val"))

    def on_validation_epoch_end(self) -> None:
        self.log("val/best_loss", self.tracker.best_metric() or 0.0)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.step(batch, "test")


class SearchesBefore(Classifier):
    """Callbacks that train a little before the training, and put everything back."""

    def configure_callbacks(self) -> Any:
        rates = LearningRateFinder(num_training_steps=4, early_stop_threshold=None)
        return [rates, BatchSizeFinder(init_val=4, max_trials=1, steps_per_trial=1)]

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.learning_rate = 0.1

    def configure_optimizers(self) -> Any:
        return Adam(self.parameters(), lr=self.learning_rate)


class StepAndEpoch(Classifier):
    """Names that Lightning makes, numbers of all kinds, and what a logger is told directly."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        self.log_dict({"int": 3, "numpy": float(np.float64(2)), "flag": True, "nan": float("nan")})
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("val/loss", self.loss(batch))

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("test/loss", self.loss(batch))

    def on_train_epoch_end(self) -> None:
        for logger in self.loggers:
            logger.log_metrics({"own/metric": 1.0}, step=self.global_step)
            logger.log_hyperparams({"found": 3, "folder": Path("a")})
        if self.logger is not None:
            self.logger.experiment.log_image("run", np.zeros((4, 4, 3), np.uint8), "x.png")
            assert self.logger.save_dir


class NamedSets(StepAndEpoch):
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        name = ["clean", "noisy"][dataloader_idx]
        self.log(f"val/{name}", self.loss(batch), add_dataloader_idx=False)


class NotFinite(Classifier):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) * float("inf")

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", float("nan"))


class CollectsOutputs(Classifier):
    """As the migration guide of Lightning 2 does it."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Tensor] = []
        self.example_input_array = torch.zeros(2, 3, 5, 7)  # which does not fit

    def validation_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.outputs.append(self.loss(batch))
        return self.outputs[-1]

    def on_validation_epoch_end(self) -> None:
        self.log("val_loss", torch.stack(self.outputs).mean(), sync_dist=True)
        self.outputs.clear()


# --- batches -----------------------------------------------------------------------------------


class OfDicts(Classifier):
    def loss(self, batch: Any) -> Tensor:
        assert batch["weight"] is None
        return F.cross_entropy(self.net(batch["x"]), batch["y"])


class OfObjects(Classifier):
    """Attributes: dataclasses, graphs, named tuples."""

    def loss(self, batch: Any) -> Tensor:
        assert not isinstance(batch, Batch) or batch.mask is None
        return F.cross_entropy(self.net(batch.x), batch.y)


class OfNested(Classifier):
    def loss(self, batch: Any) -> Tensor:
        views, target = batch[0]["views"], batch[1]["target"][0]
        return sum((F.cross_entropy(self.net(view), target) for view in views), torch.zeros(()))


class OfNumbers(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = (self.scale * batch["x"] - batch["y"]) ** 2
        self.log("loss", loss, on_epoch=True, batch_size=1)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", batch["x"], batch_size=1)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_loss", batch["x"], batch_size=1)

    def configure_optimizers(self) -> Any:
        return SGD(self.parameters(), lr=0.1)


class OfSequences(Classifier):
    """Several arguments, packed for a recurrent net."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(FEATURES, 4, batch_first=True), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:  # type: ignore[override]
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), True, enforce_sorted=False)
        return self.head(self.rnn(packed)[1][0][-1])

    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self(*batch[:2]), batch[2])


class Autoencoder(Classifier):
    """No labels."""

    def loss(self, batch: Any) -> Tensor:
        return self.net(batch).pow(2).mean()


class Segmenter(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, CLASSES, 1)


class OfTwoLoaders(Classifier):
    """Training batches in a dictionary or list of loaders; ordinary ones elsewhere."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        parts = list(batch.values()) if isinstance(batch, dict) else batch
        losses = [self.loss(part) for part in parts if part is not None]
        return torch.stack(losses).mean()


class OfCombined(Classifier):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch["a"]) + self.loss(batch["b"]), batch_size=8)


class OfIterator(OnlyTraining):
    """Takes the loader's iterator itself."""

    def training_step(self, dataloader_iter: Iterator[Any]) -> Tensor:  # type: ignore[override]
        batch, _, _ = next(dataloader_iter)
        return super().training_step(batch)


class OfText(OnlyTraining):
    def training_step(self, batch: Any) -> Tensor:
        x = torch.tensor([[item["number"]] * FEATURES for item in batch])
        return self.layer(x / 100).pow(2).mean()


# --- state and checkpoints ---------------------------------------------------------------------


class Tokenizer:
    """An object of one's own, which no checkpoint of plain data can hold."""

    words = ("a", "b")


class AddsToCheckpoint(Classifier):
    """What people put into checkpoints, and read back."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["epoch_scores"] = {1: np.float64(0.5), 2: np.arange(3)}
        checkpoint["when"] = datetime.datetime(2026, 11, 1)
        checkpoint["took"] = datetime.timedelta(seconds=3)
        checkpoint["kind"], checkpoint["file"] = Colour.RED, Path("a/b")
        checkpoint["tokenizer"], checkpoint["function"] = Tokenizer(), partial(max, 1)
        checkpoint["classes"], checkpoint["step"] = {"a", "b"}, np.int64(3)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert checkpoint["epoch_scores"][1] == 0.5
        assert list(checkpoint["epoch_scores"][2]) == [0, 1, 2]
        assert datetime.datetime.fromisoformat(checkpoint["when"]).year == 2026
        assert sorted(checkpoint["classes"]) == ["a", "b"]
        assert "tokenizer" not in checkpoint


class PartOfWeights(Classifier):
    """As adapters do it: only the trained weights are in the checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(FEATURES, FEATURES).requires_grad_(False)
        self.strict_loading = False

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        found = super().state_dict(*args, **kwargs)
        return {key: value for key, value in found.items() if "base" not in key}


class Grows(Classifier):
    """A layer gets its size while training, and from the checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.Linear(2, 2)

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 0:
            self.memory = nn.Linear(5, 2).requires_grad_(False)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        size = checkpoint["state_dict"]["memory.weight"].shape[1]
        self.memory = nn.Linear(size, 2).requires_grad_(False)

    def configure_optimizers(self) -> Any:
        return Adam(self.net.parameters())


class Quantizer(nn.Module):
    """A layer with a state beside its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: Any = {"low": np.float32(-1), "table": np.arange(4)}

    def get_extra_state(self) -> Any:
        return self.levels

    def set_extra_state(self, state: Any) -> None:
        assert list(state["table"]) == [0, 1, 2, 3]
        self.levels = state

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(float(self.levels["low"]))


class ExtraState(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(Quantizer(), linear())


class StatefulCallback(Callback):
    """A callback whose state is no plain data."""

    def state_dict(self) -> dict[str, Any]:
        return {"best": np.float64(3.0), "where": Path("a"), "object": Tokenizer()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        assert state_dict["best"] == 3.0


class WithStatefulCallback(Classifier):
    def configure_callbacks(self) -> Any:
        return [StatefulCallback()]


class OwnBase(Classifier):
    """As a project's base class: logs in `setup`, reads the trainer, predicts."""

    def setup(self, stage: str) -> None:
        if self.logger:
            self.logger.log_hyperparams(Namespace(stage=stage, lr=np.float64(self.lr)))

    def on_fit_start(self) -> None:
        assert self.trainer.datamodule is not None
        self.print(f"{self.trainer.max_epochs} epochs of {self.trainer.num_training_batches}")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self(batch[0]).argmax(1)

    def predict_dataloader(self) -> DataLoader[Any]:
        return PlainData().test_dataloader()
