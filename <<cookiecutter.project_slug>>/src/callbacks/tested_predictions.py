"""What a model predicted in its test, for callbacks that look at it, without predicting twice."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from src.callbacks.pictures import is_classification, labelled_images


class TestedPredictions(Callback):
    """Calls `update` with each batch of the test and the logits that the model gave for it.

    The model is called once in its `test_step`. Batches and models other than those of image
    classification are passed over.
    """

    def __init__(self) -> None:
        self._logits: Any = None
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
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Hand on the batch of the first dataloader."""
        labelled = labelled_images(batch)
        if dataloader_idx == 0 and labelled and is_classification(self._logits):
            self.update(*labelled, self._logits.detach())
        self._logits = None

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen no more."""
        if self._hook is not None:
            self._hook.remove()

    def _keep(self, module: Any, inputs: Any, output: Any) -> None:
        self._logits = output
