"""Keep parts of a model as they are, for good or for the first epochs."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

NORMS = nn.modules.batchnorm._BatchNorm


class Freeze(Callback):
    """Train no parameter whose name fits one of the patterns.

    Batch normalisation whose own parameters are all frozen keeps its running mean and variance.

    Args:
        patterns: shell patterns of names in `model.named_parameters()`, such as `net.layer1.*`.
        until_epoch: the first epoch that trains them, from 0; None keeps them frozen.

    Raises:
        ValueError: in `setup`, if a pattern fits no name.
    """

    def __init__(self, patterns: Sequence[str], until_epoch: int | None = None) -> None:
        self.patterns = list(patterns)
        self.until_epoch = until_epoch

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Freeze, before the optimizer is built."""
        if stage == "fit":
            self._set(pl_module, requires_grad=False)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Thaw when it is time; keep frozen normalisation from following the data."""
        if trainer.current_epoch == self.until_epoch:
            self._set(pl_module, requires_grad=True)
        for module in pl_module.modules():
            parameters = list(module.parameters(recurse=False))
            if isinstance(module, NORMS) and parameters:
                module.train(any(p.requires_grad for p in parameters))

    def _set(self, model: LightningModule, requires_grad: bool) -> None:
        parameters = dict(model.named_parameters())
        for pattern in self.patterns:
            names = [name for name in parameters if fnmatchcase(name, pattern)]
            if not names:
                raise ValueError(
                    f"callbacks.freeze.patterns: {pattern} fits no parameter. "
                    f"There are {', '.join(parameters)}"
                )
            for name in names:
                parameters[name].requires_grad = requires_grad
