"""Modules that reach into the optimizer, the loops and the trainer."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import (
    LambdaCallback,
    ModelCheckpoint,
    ModelPruning,
    ModelSummary,
    Timer,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import CSVLogger
from lightning_code import Classifier
from lightning_data import PlainData
from torch import Tensor, nn
from torch.optim import SGD, Optimizer, lr_scheduler

# --- optimization -------------------------------------------------------------------------------


class TwoPoints(Optimizer):
    """An optimizer around another one, which calls the closure twice."""

    def __init__(self, params: Any, base: type[Optimizer], radius: float, **settings: Any) -> None:
        super().__init__(params, {"radius": radius, **settings})
        self.base = base(self.param_groups, **settings)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def move(self, sign: int) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if sign > 0:
                    state["move"] = parameter.grad * group["radius"]
                parameter.add_(sign * state["move"])

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        closure = torch.enable_grad()(closure)
        closure()
        self.move(1)
        closure()
        self.move(-1)
        self.base.step()


class Sharp(Classifier):
    """A warm-up in `optimizer_step`, and clipping of its own."""

    def configure_optimizers(self) -> Any:
        return TwoPoints(self.parameters(), SGD, radius=0.05, lr=0.1, momentum=0.9)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self.lr * min(1.0, (self.trainer.global_step + 1) / 4)
        optimizer.step(closure=optimizer_closure)

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        for parameter in self.parameters():
            nn.utils.clip_grad_norm_([parameter], 0.1 * float(parameter.norm()) + 0.01)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.log("lr", self.optimizers().param_groups[0]["lr"], prog_bar=True)


class PlateauByHand(Classifier):
    """Steps of a scheduler on plateau with a metric of the trainer."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer = self.optimizers()
        self.manual_backward(self.loss(batch) / 2)
        if batch_idx % 2 == 1 or self.trainer.is_last_batch:
            optimizer.step()
            optimizer.zero_grad()

    def on_train_epoch_end(self) -> None:
        scheduler = self.lr_schedulers()
        assert isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)
        scheduler.step(self.trainer.callback_metrics["val_loss"])

    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=0.1)
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        settings = {"scheduler": scheduler, "monitor": "val_loss"}
        return {"optimizer": optimizer, "lr_scheduler": settings}


class LossPerSample(Classifier):
    """Weights of samples as the gradient; batches of different sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        size = 8 - 3 * (batch_idx % 2)
        losses = F.cross_entropy(self.net(batch[0][:size]), batch[1][:size], reduction="none")
        self.optimizers().zero_grad()
        self.manual_backward(losses, gradient=torch.ones_like(losses) / size)
        self.optimizers().step()


# --- the trainer --------------------------------------------------------------------------------


class Loops(Classifier):
    """Reads and sets what the loops hold."""

    def configure_optimizers(self) -> Any:
        self.trainer.fit_loop.setup_data()
        steps = len(self.trainer.train_dataloader) * self.trainer.max_epochs
        optimizer = SGD(self.parameters(), lr=0.1)
        scheduler = lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loop, batches = self.trainer.fit_loop, self.trainer.num_training_batches
        assert loop.epoch_loop.batch_idx == batch_idx
        assert loop.total_batch_idx == self.current_epoch * batches + batch_idx
        self.log("epochs", self.current_epoch + batch_idx / batches)
        return super().training_step(batch, batch_idx)

    def on_train_epoch_end(self) -> None:
        assert "val_loss" in self.trainer.progress_bar_metrics | self.trainer.logged_metrics
        self.print({name: float(value) for name, value in self.trainer.callback_metrics.items()})
        self.trainer.progress_bar_callback.print("an epoch")
        self.trainer.limit_val_batches = 1


class OwnTrainer(L.Trainer):
    """A trainer with an argument of its own."""

    def __init__(self, *args: Any, label: str = "", **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.label = label


class OfOwnTrainer(Classifier):
    def on_fit_start(self) -> None:
        trainer: Any = self.trainer
        assert trainer.label == "one"


class TrainsAnother(Classifier):
    """A trainer within the training, for a probe after each epoch."""

    def on_train_epoch_end(self) -> None:
        trainer = L.Trainer(
            accelerator="cpu",
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            logger=False,
            max_epochs=1,
        )
        trainer.fit(Classifier(), PlainData().train_dataloader())
        self.log("probe", trainer.callback_metrics["train_loss"])


class OwnBar(TQDMProgressBar):
    def get_metrics(self, *args: Any, **kwargs: Any) -> Any:
        items = super().get_metrics(*args, **kwargs)
        items.pop("v_num", None)
        return items


class LightningsCallbacks(Classifier):
    """Another progress bar and summary than the default ones, and some further callbacks."""

    def configure_callbacks(self) -> Any:
        greet = LambdaCallback(on_train_epoch_start=lambda trainer, module: module.print("epoch"))
        prune = ModelPruning(
            "l1_unstructured", amount=0.5, parameters_to_prune=[(self.net[1], "weight")]
        )
        return [OwnBar(), ModelSummary(max_depth=-1), greet, prune, Timer("00:01:00:00")]


class ChecksEachStep(Classifier):
    """Checkpoints of each step, all of them kept."""

    def configure_callbacks(self) -> Any:
        return ModelCheckpoint(every_n_train_steps=1, save_top_k=-1)


class AddsLogger(Classifier):
    """Adds a logger of its own, and writes where the trainer and its loggers write."""

    def on_fit_start(self) -> None:
        folder = self.trainer.default_root_dir
        self.trainer.loggers = [*self.trainer.loggers, CSVLogger(folder, "own")]

    def on_train_epoch_end(self) -> None:
        logger, checkpoint = self.logger, self.trainer.checkpoint_callback
        assert logger is not None
        assert checkpoint is not None
        for folder in (
            self.trainer.log_dir,
            logger.log_dir,
            f"{logger.save_dir}/{logger.name}/version_{logger.version}/own",
            Path(checkpoint.dirpath).parent / "own",
        ):
            Path(folder).mkdir(parents=True, exist_ok=True)
            Path(folder, "own.txt").write_text("a")


class Delegates(Classifier):
    """What the module does not have is looked for in its net; its logger is a property."""

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("net"), name)

    @property
    def logger(self) -> Any:
        return self.trainer.loggers[0] if self.trainer.loggers else None

    def on_fit_start(self) -> None:
        self.hparams.version = self.logger.version
