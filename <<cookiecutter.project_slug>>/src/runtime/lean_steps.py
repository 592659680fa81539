"""What a training step need not do: small things that add up where a step takes a millisecond."""

import os

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)


def prepare(trainer: Trainer, model: LightningModule) -> None:
    """Leave out what has no effect, before `trainer` fits `model`."""
    _leave_out_empty_hooks(trainer, model)
    _ask_for_a_gpu_once()


def _leave_out_empty_hooks(trainer: Trainer, model: LightningModule) -> None:
    # Lightning names, times and calls each hook of each callback in each step, whether or not
    # anybody wrote it, but passes over what is not callable.
    callbacks = trainer.callbacks  # ty: ignore[missing-attribute]
    for owner, base in [(model, LightningModule), *((c, Callback) for c in callbacks)]:
        for hook in STEP_HOOKS:
            if getattr(type(owner), hook) is getattr(base, hook) and hook not in vars(owner):
                setattr(owner, hook, None)


def _ask_for_a_gpu_once() -> None:
    # Adam looks for a GPU in each step, and Lightning has it asked in a way that may be forked
    # but loads the driver's library each time. Where there is no GPU, no fork can harm it.
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
