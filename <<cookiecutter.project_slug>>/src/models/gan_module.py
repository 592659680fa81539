"""A generative adversarial network: two nets, two optimizers, each stepped by hand."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Optimizer

Batch = tuple[Tensor, Tensor]


class GANLitModule(LightningModule):
    """Learn to make images like those of a dataset; its labels are not used.

    A generator makes images from noise, a discriminator tells them from real ones, and each is
    trained against the other. How well it goes is told by neither loss, so `nn_acc` is logged: of
    as many real and made images as a batch holds, the share whose nearest neighbour is of their
    own kind; 0.5 means that they cannot be told apart, 1 that they always can.

    Sources: I. Goodfellow et al., Generative Adversarial Networks, 2014, for the losses;
    D. Lopez-Paz and M. Oquab, Revisiting Classifier Two-Sample Tests, 2017, for `nn_acc`.

    Args:
        generator: maps noise `(B, latent_size)` to images `(B, C, H, W)`.
        discriminator: maps images `(B, C, H, W)` to scores `(B,)`, high for real ones.
        generator_optimizer: called with the generator's parameters.
        discriminator_optimizer: called with the discriminator's.
        latent_size: numbers of noise an image is made from.
        monitor: the metric that tells the best epoch: `configs/common/callbacks` reads it.
        mode: whether that metric should be `min` or `max`.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        generator_optimizer: Callable[..., Optimizer],
        discriminator_optimizer: Callable[..., Optimizer],
        latent_size: int = 64,
        monitor: str = "val/nn_acc",
        mode: Literal["min", "max"] = "min",
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = generator
        self.discriminator = discriminator
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.latent_size = latent_size
        self.monitor, self.mode = monitor, mode

    def forward(self, images: Tensor) -> Tensor:
        """Map images `(B, C, H, W)` to scores `(B,)`, high for those that look real."""
        return self.discriminator(images)

    def sample(self, number: int) -> Tensor:
        """Make images `(number, C, H, W)`."""
        return self.generator(torch.randn(number, self.latent_size, device=self.device))

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Step the discriminator, then the generator."""
        images, _ = batch
        generator_optimizer, discriminator_optimizer = self.optimizers()  # ty: ignore[not-iterable]
        made = self.sample(len(images))

        self.toggle_optimizer(discriminator_optimizer)
        loss = (softplus(-self(images)) + softplus(self(made.detach()))).mean()
        discriminator_optimizer.zero_grad()
        self.manual_backward(loss)
        discriminator_optimizer.step()
        self.untoggle_optimizer(discriminator_optimizer)

        self.toggle_optimizer(generator_optimizer)
        generator_loss = softplus(-self(made)).mean()
        generator_optimizer.zero_grad()
        self.manual_backward(generator_loss)
        generator_optimizer.step()
        self.untoggle_optimizer(generator_optimizer)

        self.log("train/discriminator_loss", loss, on_step=False, on_epoch=True)
        self.log("train/generator_loss", generator_loss, on_step=False, on_epoch=True)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Compare the images of a batch with as many made ones."""
        self.log("val/nn_acc", self.compare(batch), on_epoch=True, prog_bar=True)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Compare the images of a batch with as many made ones."""
        self.log("test/nn_acc", self.compare(batch), on_epoch=True)

    def compare(self, batch: Batch) -> Tensor:
        """Return how well the nearest neighbour tells real from made images, `()` in `[0, 1]`."""
        images, _ = batch
        both = torch.cat([images, self.sample(len(images))]).flatten(1)
        distances = torch.cdist(both, both)
        distances.fill_diagonal_(torch.inf)  # nobody is a neighbour of their own
        is_made = torch.arange(len(both), device=both.device) >= len(images)
        return (is_made[distances.argmin(dim=1)] == is_made).float().mean()

    def configure_optimizers(self) -> tuple[list[Optimizer], list[Any]]:
        """Build one optimizer for each net."""
        return [
            self.generator_optimizer(self.generator.parameters()),
            self.discriminator_optimizer(self.discriminator.parameters()),
        ], []
