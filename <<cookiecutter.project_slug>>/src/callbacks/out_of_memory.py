"""Say what to type when the memory of the device runs out."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class OutOfMemoryAdvice(Callback):
    """Replace the text of an out-of-memory error by the batch size, the memory and what to type.

    The command then ends with this text as its one-line error; the last checkpoint stays.
    """

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Replace the text of the exception."""
        if not isinstance(exception, torch.OutOfMemoryError):
            return
        device = trainer.strategy.root_device
        loaders = (trainer.train_dataloader, trainer.val_dataloaders, trainer.test_dataloaders)
        loader: Any = next(filter(None, loaders), None)
        batch_size = getattr(loader, "batch_size", None) or 2
        memory = ""
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(device) / 1e9
            total = torch.cuda.get_device_properties(device).total_memory / 1e9
            memory = f", peak {peak:.1f} of {total:.1f} GB"
        accumulated = 2 * trainer.accumulate_grad_batches
        exception.args = (
            f"{device} is out of memory (batch size {batch_size}{memory}). Type "
            f"data.batch_size={max(batch_size // 2, 1)} "
            f"+trainer.accumulate_grad_batches={accumulated}, or +trainer.precision=bf16-mixed, or "
            "+callbacks.finder._target_=lightning.pytorch.callbacks.BatchSizeFinder",
        )
