"""A lean loop does what Lightning's does, to the last bit, and calls whoever wrote a hook."""

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging
from lightning.pytorch.loops import training_epoch_loop
from lightning.pytorch.loops.optimization.automatic import _AutomaticOptimization
from lightning.pytorch.profilers import SimpleProfiler
from lightning.pytorch.trainer import call
from lightning.pytorch.trainer.states import RunningStage
from torch import Tensor, nn
from torchmetrics import Metric

from src.data.digits_datamodule import DigitsDataModule
from src.models.mnist_module import Batch, MNISTLitModule
from src.runtime.lean import hooks, optimization, steps

HOOKS = [name for name in dir(Callback) if name.startswith("on_") and "load" not in name]


@pytest.fixture(autouse=True)
def lightnings_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start, and end, with the functions of Lightning and torchmetrics."""
    own = hooks._of_callbacks, hooks._of_module, hooks._of_strategy
    for function in own:
        monkeypatch.setattr(call, function.__name__, function)
    monkeypatch.setattr(Metric, "__setattr__", steps._set_attribute)
    monkeypatch.setattr(RunningStage, "__eq__", steps._is_equal)
    monkeypatch.setattr(steps._DataHookSelector, "get_instance", steps._owner_of_hook)
    inspect = training_epoch_loop.is_param_in_hook_signature
    yield
    vars(training_epoch_loop)["is_param_in_hook_signature"] = inspect


class Diary(Callback):
    """Notes each hook as it is called, in which hook `self.log` believes to be, and the loss."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        for name in HOOKS:
            setattr(self, name, partial(self._note, name))

    def _note(self, name: str, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        note: list[Any] = [name, pl_module._current_fx_name, trainer.global_step]
        if name == "on_train_batch_end":
            note += [args[0], trainer.fit_loop.epoch_loop.automatic_optimization.state_dict()]
        if name == "on_before_optimizer_step":
            note.append([type(args[0]), *(p.grad for p in pl_module.parameters())])
        self.notes.append(note)


class Module(MNISTLitModule):
    """Notes likewise, and returns from a step what it is told to."""

    def __init__(self, output: str = "loss", **optimizer: Any) -> None:
        torch.manual_seed(0)  # for the order of the batches too
        net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.BatchNorm1d(10))
        optimizer = optimizer or {"lr": 0.1}
        kind = torch.optim.LBFGS if "max_iter" in optimizer else torch.optim.Adam
        super().__init__(net, partial(kind, **optimizer))
        self.output = output
        self.notes: list[Any] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Any:
        """Return a loss, alone, with more, or not in each step."""
        self.notes.append(self._current_fx_name)
        loss = super().training_step(batch, batch_idx)
        if self.output == "dict":
            return {"loss": loss, "batch": batch_idx}
        return None if self.output == "sometimes" and batch_idx % 2 else loss

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Note who was asked, and change the batch."""
        self.notes.append(self._current_fx_name)
        return -batch[0], batch[1]

    def on_before_backward(self, loss: Tensor) -> None:
        """Note the gradients' history, of which the loss has some."""
        self.notes.append((self._current_fx_name, loss.requires_grad))


class OwnClipping(Module):
    """Replaces a part of the step."""

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        """Note that it was asked."""
        self.notes.append("own clipping")


def fit(lean: bool, model: Module, **settings: Any) -> tuple[Any, Trainer]:
    """Train for five steps; return all that was seen on the way, and the trainer."""
    diary = Diary()
    callbacks = [*settings.pop("callbacks", ()), diary]
    trainer = Trainer(
        accelerator="cpu",
        max_steps=5,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    if lean:
        steps.prepare(trainer, model)
    trainer.fit(model, DigitsDataModule())
    metrics = model.train_acc.metric_state
    seen = [diary.notes, model.notes, model._current_fx_name, dict(model.state_dict()), metrics]
    return plain(seen), trainer


def plain(seen: Any) -> Any:
    """Return the same with lists in place of tensors, which compare to the last bit."""
    if isinstance(seen, Tensor):
        return seen.tolist()
    if isinstance(seen, dict):
        return {key: plain(value) for key, value in seen.items()}
    return [plain(value) for value in seen] if isinstance(seen, list) else seen


@pytest.mark.filterwarnings("ignore:.*returned None")
@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ({}, {}),
        ({}, {"gradient_clip_val": 0.5}),
        ({}, {"gradient_clip_val": 1e6}),
        ({}, {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"}),
        ({}, {"accumulate_grad_batches": 2}),
        ({"output": "dict"}, {}),
        ({"output": "sometimes"}, {"gradient_clip_val": 0.5}),
        ({"lr": 0.1, "max_iter": 3}, {"gradient_clip_val": 0.5}),  # asks for several closures
    ],
    ids=str,
)
def test_a_lean_step_is_lightnings_to_the_last_bit(model: Any, settings: Any) -> None:
    own, trainer = fit(False, Module(**model), **settings)
    assert type(trainer.fit_loop.epoch_loop.automatic_optimization) is _AutomaticOptimization
    lean, trainer = fit(True, Module(**model), **settings)
    loop = trainer.fit_loop.epoch_loop
    assert type(loop.automatic_optimization) is optimization.LeanOptimization
    assert lean == own


@pytest.mark.parametrize(
    "callback",
    [
        partial(GradientAccumulationScheduler, {0: 1, 1: 2}),
        partial(StochasticWeightAveraging, swa_lrs=0.1, swa_epoch_start=1),
    ],
)
def test_a_callback_changes_the_steps_in_the_midst_of_training(callback: Any) -> None:
    few = {"limit_train_batches": 2, "max_epochs": 2, "gradient_clip_val": 0.5}
    own, _ = fit(False, Module(), callbacks=[callback()], **few)
    lean, _ = fit(True, Module(), callbacks=[callback()], **few)
    assert lean == own


@pytest.mark.parametrize(
    ("model", "settings", "note"),
    [(OwnClipping, {}, "own clipping"), (Module, {"precision": "bf16-mixed"}, "training_step")],
)
def test_what_is_not_lightnings_plain_step_stays(model: Any, settings: Any, note: str) -> None:
    seen, trainer = fit(True, model(), **settings)
    assert seen[1].count(note) == 5
    assert type(trainer.fit_loop.epoch_loop.automatic_optimization) is _AutomaticOptimization


def test_a_hook_within_a_hook() -> None:
    class Nested(Module):
        def on_train_start(self) -> None:
            call._call_callback_hooks(self.trainer, "on_train_epoch_start")
            call._call_lightning_module_hook(self.trainer, "on_train_epoch_start")
            self.notes.append(self._current_fx_name)

    seen, _ = fit(True, Nested())
    assert "on_train_start" in seen[1]


def test_a_profiler_and_the_log_hear_of_each_hook(caplog: pytest.LogCaptureFixture) -> None:
    profiler = SimpleProfiler()
    fit(True, Module(), profiler=profiler)
    calls = {name: len(times) for name, times in profiler.recorded_durations.items()}
    assert calls["[LightningModule]Module.on_before_backward"] == 5
    assert calls["[Strategy]SingleDeviceStrategy.training_step"] == 5
    with caplog.at_level(logging.DEBUG, logger=call.__name__):
        fit(True, Module())
    assert "Trainer: calling callback hook: on_train_batch_end" in caplog.messages


class Silent(Callback):
    """Writes no hook."""


def test_a_hook_that_nobody_wrote_is_not_called() -> None:
    silent = Silent()
    fit(True, Module(), callbacks=[silent])
    assert all(getattr(silent, hook) is None for hook in steps.CALLBACK_HOOKS)


def test_the_step_is_inspected_once() -> None:
    fit(True, Module())
    inspected: Any = training_epoch_loop.is_param_in_hook_signature
    assert inspected.cache_info()[:2] == (4, 1)  # hits, misses
