"""What a step need not do: small things that add up where one takes a millisecond."""

import os
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops import training_epoch_loop
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.utilities import signature_utils
from torch import nn

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
    _leave_out_empty_hooks(trainer, model)
    _profile_nothing_faster(trainer)
    _note_hooks_faster()
    _inspect_the_step_once()
    _ask_for_a_gpu_once()


class NoProfiler(PassThroughProfiler):
    """What Lightning profiles with when nothing is asked for, without a generator each time.

    It is entered some forty times in a step.
    """

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # ty: ignore[incompatible-method-override]
        """Return a context that does nothing."""
        return self._nothing


def _leave_out_empty_hooks(trainer: Trainer, model: LightningModule) -> None:
    # Lightning names, times and calls each hook of each callback in each step, whether or not
    # anybody wrote it, but passes over what is not callable.
    callbacks = trainer.callbacks  # ty: ignore[missing-attribute]
    of_callbacks = ((callback, Callback, CALLBACK_HOOKS) for callback in callbacks)
    for owner, base, hooks in [(model, LightningModule, STEP_HOOKS), *of_callbacks]:
        for hook in hooks:
            if getattr(type(owner), hook) is getattr(base, hook) and hook not in vars(owner):
                setattr(owner, hook, None)


def _profile_nothing_faster(trainer: Any) -> None:
    if type(trainer.profiler) is PassThroughProfiler:
        trainer.profiler = NoProfiler()


def _note_hooks_faster() -> None:
    LightningModule.__setattr__ = _set  # ty: ignore[invalid-assignment]


def _set(self: LightningModule, name: str, value: Any) -> None:
    # Some forty times in a step Lightning notes which hook it calls; `nn.Module` would look each
    # time whether the hook's name is a parameter.
    if name == "_current_fx_name":
        self.__dict__[name] = value
    else:
        nn.Module.__setattr__(self, name, value)


def _inspect_the_step_once() -> None:
    # Whether `training_step` takes a `batch_idx` does not change from step to step. Anew for each
    # run: what is remembered holds its model.
    loop: Any = training_epoch_loop
    loop.is_param_in_hook_signature = cache(signature_utils.is_param_in_hook_signature)


def _ask_for_a_gpu_once() -> None:
    # Adam looks for a GPU in each step, and Lightning has it asked in a way that may be forked
    # but loads the driver's library each time. Where there is no GPU, no fork can harm it.
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
