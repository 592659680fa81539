"""What a model predicted in its test, for callbacks that look at it, without predicting twice."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.hooks import RemovableHandle


class TestedPredictions(Callback):
    """Calls `update` with each batch of the test and the logits that the model gave for it.

    A batch is `(images, labels)`, and the model maps images to logits, once in its `test_step`.
    """

    def __init__(self) -> None:
        self._logits: Tensor | None = None
        self._hook: RemovableHandle | None = None

    def update(self, images: Tensor, labels: Tensor, logits: Tensor) -> None:
        """Look at a batch: images `(B, C, H, W)`, labels `(B,)`, logits `(B, K)`."""
        raise NotImplementedError

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to listen to the model."""
        self._hook = pl_module.register_forward_hook(self._keep)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: tuple[Tensor, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Hand on the batch of the first dataloader."""
        if dataloader_idx == 0 and self._logits is not None:
            self.update(*batch, self._logits.detach())
        self._logits = None

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen no more."""
        if self._hook is not None:
            self._hook.remove()

    def _keep(self, module: Any, inputs: Any, output: Tensor) -> None:
        self._logits = output
