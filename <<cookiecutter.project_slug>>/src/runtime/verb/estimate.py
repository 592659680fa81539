"""How large a run would be: parameters, memory and steps, from its parts and one batch."""

import functools
import math
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities import move_data_to_device
from omegaconf import DictConfig
from torch import Tensor

from src.runtime import log_format
from src.runtime.instantiate import instantiate


def sizes(cfg: DictConfig) -> dict[str, str]:
    """Build data, model and trainer, pass one batch forward on the CPU, and say what came out."""
    log_format.take_in_lightning()
    datamodule: LightningDataModule = instantiate(cfg.data)
    model: LightningModule = instantiate(cfg.model)
    trainer: Trainer = instantiate(cfg.trainer, callbacks=[], logger=False)
    datamodule.prepare_data()
    datamodule.setup("fit")
    loader: Any = datamodule.train_dataloader()
    batch = move_data_to_device(next(iter(loader)), torch.device("cpu"))
    inputs = batch[0] if isinstance(batch, list | tuple) else batch
    held, output = activations(model, inputs)
    count = {p.requires_grad: 0 for p in model.parameters()} | {True: 0}
    for p in model.parameters():
        count[p.requires_grad] += p.numel()
    weights = sum(p.nbytes for p in model.parameters())
    trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    state = trained * optimizer_copies(model)
    total = weights + trained + state + held
    return {
        "model": f"{type(model).__name__}: " + ", ".join(children(model)),
        "parameters": f"{sum(count.values()):,}, of them {count[True]:,} trained",
        "batch": f"{shape(inputs)} -> {shape(output)}",
        "memory": f"about {total / 2**20:,.1f} MiB a device: weights {weights / 2**20:,.1f}, "
        f"gradients {trained / 2**20:,.1f}, optimizer {state / 2**20:,.1f}, "
        f"activations of a batch {held / 2**20:,.1f}; in float32",
        "steps": steps(trainer, len(loader)),
    }


def activations(model: LightningModule, inputs: Any) -> tuple[int, Any]:
    """Return the bytes that a backward pass would need of a forward one, and what that gave."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(inputs)
    return sum(seen.values()), output


def optimizer_copies(model: LightningModule) -> int:
    """Return how many numbers the optimizer keeps for each parameter: 2 for Adam and its kin."""
    copies = 0
    for value in vars(model).values():
        made = value(torch.nn.Linear(1, 1).parameters()) if is_optimizer(value) else None
        if made:
            copies = max(
                copies, 2 if "betas" in made.defaults else bool(made.defaults.get("momentum"))
            )
    return copies


def is_optimizer(value: Any) -> bool:
    """Say whether a value is an optimizer that waits for its parameters."""
    kind = value.func if isinstance(value, functools.partial) else None
    return isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)


def steps(trainer: Trainer, batches: int) -> str:
    """Return how often the optimizer would step."""
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    batches = math.ceil(batches / trainer.world_size)
    an_epoch = math.ceil(batches / trainer.accumulate_grad_batches)
    if trainer.max_epochs is None or trainer.max_epochs < 0:
        return f"{an_epoch:,} an epoch, without end"
    total = an_epoch * trainer.max_epochs
    if trainer.max_steps >= 0:
        total = min(total, trainer.max_steps)
    return f"{an_epoch:,} an epoch, {total:,} at most in {trainer.max_epochs} epochs"


def children(model: LightningModule) -> list[str]:
    """Return the name, class and size of each part of a model that has parameters."""
    found = []
    for name, child in model.named_children():
        size = sum(p.numel() for p in child.parameters())
        if size:
            found.append(f"{name} ({type(child).__name__}, {size:,})")
    return found


def shape(value: Any) -> str:
    """Return the shape of a tensor, or those of the tensors in a dict, as text."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {shape(item)}" for name, item in value.items())
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
