"""What a step need not do."""

import os
from functools import cache
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops import training_epoch_loop
from lightning.pytorch.trainer.connectors.data_connector import _DataHookSelector
from lightning.pytorch.trainer.states import RunningStage
from lightning.pytorch.utilities import signature_utils
from torch import nn
from torchmetrics import Metric

from src.runtime.lean import hooks, optimization

_set_attribute = Metric.__setattr__
_owner_of_hook = _DataHookSelector.get_instance
_is_equal = RunningStage.__eq__
STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
# A module's own of these are inspected, and have to be functions.
CALLBACK_HOOKS = (
    *STEP_HOOKS,
    *(f"on_{stage}_batch_{end}" for stage in ("validation", "test") for end in ("start", "end")),
)


def prepare(trainer: Trainer, model: LightningModule) -> None:
    """Leave out what has no effect, before `trainer` fits `model`."""
    hooks.install()
    optimization.install(trainer, model)
    _leave_out_empty_hooks(trainer, model)
    _inspect_the_step_once()
    _answer_faster()
    _ask_for_a_gpu_once()


def _leave_out_empty_hooks(trainer: Trainer, model: LightningModule) -> None:
    # Each hook of each callback is called in each step, whether or not anybody wrote it, but what
    # is not callable is passed over.
    callbacks = trainer.callbacks  # ty: ignore[missing-attribute]
    of_callbacks = ((callback, Callback, CALLBACK_HOOKS) for callback in callbacks)
    for owner, base, names in [(model, LightningModule, STEP_HOOKS), *of_callbacks]:
        for hook in names:
            if getattr(type(owner), hook) is getattr(base, hook) and hook not in vars(owner):
                setattr(owner, hook, None)


def _inspect_the_step_once() -> None:
    # Whether `training_step` takes a `batch_idx` does not change from step to step. Anew for each
    # run: what is remembered holds its model.
    loop: Any = training_epoch_loop
    loop.is_param_in_hook_signature = cache(signature_utils.is_param_in_hook_signature)


def _answer_faster() -> None:
    # In each step metrics set some ten attributes, where `nn.Module` would look whether a
    # parameter, a buffer or a module has the name; Lightning compares the stage of the trainer with
    # others some twenty times, in lower case; and it looks three times who has a hook for batches
    # on their way to the device.
    Metric.__setattr__ = _set
    RunningStage.__eq__ = _is_same  # ty: ignore[invalid-assignment]
    _DataHookSelector.get_instance = _remembered_owner


def _set(self: Metric, name: str, value: Any) -> None:
    if name in self.__dict__ and not isinstance(value, nn.Module | nn.Parameter):
        self.__dict__[name] = value
    else:
        _set_attribute(self, name, value)


def _is_same(self: RunningStage, other: object) -> bool:
    return self is other or _is_equal(self, other)


def _remembered_owner(self: _DataHookSelector, hook_name: str) -> Any:
    known = self.__dict__.setdefault("owners", {})
    if hook_name not in known:
        known[hook_name] = _owner_of_hook(self, hook_name)
    return known[hook_name]


def _ask_for_a_gpu_once() -> None:
    # Adam looks for a GPU in each step, and Lightning has it asked in a way that may be forked
    # but loads the driver's library each time. Where there is no GPU, no fork can harm it.
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
