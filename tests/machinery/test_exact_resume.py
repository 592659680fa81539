"""A run that was stopped continues bit for bit, wherever it was stopped."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import MaxMetric, MeanMetric

from src.data.loading import ResumableLoader
from src.runtime.checkpoints import PlainCheckpointIO
from src.runtime.last_checkpoint import LastCheckpoint

SCHEDULERS: dict[str, Any] = {
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=40),
    "plateau": lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0),
}


class Stop(Exception):
    """What stops a run."""


class StopAt(Callback):
    """Stop as `kill -9` does: without a checkpoint of its own."""

    def __init__(self, batch: int | None = None, after_epoch: int | None = None) -> None:
        self.batch, self.after_epoch, self.seen = batch, after_epoch, 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, idx: int) -> None:
        if self.seen == self.batch:
            raise Stop
        self.seen += 1

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == self.after_epoch:
            raise Stop


class Noisy(Dataset[Any]):
    """Samples with random noise, as an augmentation adds it."""

    def __init__(self, size: int) -> None:
        self.x = torch.randn(size, 5, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.x[i] + 0.1 * torch.randn(5), self.x[i].sum()


class Data(LightningDataModule):
    def __init__(self, num_workers: int) -> None:
        super().__init__()
        self.num_workers = num_workers

    def train_dataloader(self) -> ResumableLoader:
        settings: dict[str, Any] = {"num_workers": self.num_workers}
        if self.num_workers:
            settings["persistent_workers"] = True
        return ResumableLoader(Noisy(75), batch_size=5, shuffle=True, **settings)

    def val_dataloader(self) -> ResumableLoader:
        return ResumableLoader(Noisy(20), batch_size=5)


class Model(LightningModule):
    def __init__(self, scheduler: str | None) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.scheduler = scheduler
        self.mean, self.best = MeanMetric(), MaxMetric()
        self.history: list[tuple[int, float]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        loss = (self.net(x).squeeze(1) - y).pow(2).mean()
        self.mean.update(loss.detach())
        self.history.append((self.global_step, loss.item()))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("val_loss", (self.net(x).squeeze(1) - y).pow(2).mean())

    def on_train_epoch_end(self) -> None:
        self.best.update(self.mean.compute())
        self.log("train_loss", self.mean)
        self.log("best", self.best.compute())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.02)
        if self.scheduler is None:
            return optimizer
        scheduler = SCHEDULERS[self.scheduler](optimizer)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"},
        }


def fit(
    folder: Path,
    stop: StopAt | None,
    ckpt: str | None,
    scheduler: str | None,
    workers: int,
    **kw: Any,
) -> tuple[Model, Trainer]:
    torch.manual_seed(1 if ckpt is None else 99)
    trainer = Trainer(
        max_epochs=4,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            LastCheckpoint(str(folder / "checkpoints"), every_n_minutes=0),
            ModelCheckpoint(folder / "checkpoints", monitor="val_loss", filename="best"),
            *([stop] if stop else []),
        ],
        **kw,
    )
    trainer.strategy.checkpoint_io = PlainCheckpointIO({})
    model = Model(scheduler)
    with suppress(Stop):
        trainer.fit(model, Data(workers), ckpt_path=ckpt)
    return model, trainer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "kw",
    [{}, {"val_check_interval": 0.5}, {"accumulate_grad_batches": 2}, {"limit_train_batches": 7}],
)
@pytest.mark.parametrize("scheduler", [None, "cosine", "plateau"])
def test_a_stopped_run_continues_bit_for_bit(
    tmp_path: Path, scheduler: str | None, kw: dict[str, Any], workers: int
) -> None:
    whole, whole_trainer = fit(tmp_path / "whole", None, None, scheduler, workers, **kw)
    stops = [StopAt(batch=9), StopAt(batch=15), StopAt(batch=24), StopAt(after_epoch=0)]
    for stop in stops if workers == 0 else stops[:2]:
        folder = tmp_path / str(id(stop))
        fit(folder, stop, None, scheduler, workers, **kw)
        last = folder / "checkpoints" / "last.ckpt"
        assert last.exists()
        resumed, trainer = fit(folder, None, str(last), scheduler, workers, **kw)
        after = dict(resumed.history)
        expected = {step: loss for step, loss in whole.history if step in after}
        assert after == expected
        for key, value in whole.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[key]), key
        assert {k: v.item() for k, v in trainer.callback_metrics.items()} == {
            k: v.item() for k, v in whole_trainer.callback_metrics.items()
        }
        assert trainer.global_step == whole_trainer.global_step
