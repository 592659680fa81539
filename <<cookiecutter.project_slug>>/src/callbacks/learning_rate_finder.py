"""Lightning's learning-rate finder, for any model that it optimises by itself."""

import logging

from lightning.pytorch import LightningModule, Trainer, callbacks

log = logging.getLogger(__name__)


class LearningRateFinder(callbacks.LearningRateFinder):
    """Before training, raise the learning rate step by step and take that of the steepest descent.

    Lightning's own wants an attribute `lr` of the model. This one scales what optimizer and
    scheduler hold: a schedule keeps its shape.

    Source: L. N. Smith, Cyclical Learning Rates for Training Neural Networks, 2017.

    Args:
        min_lr: where to start.
        max_lr: where to end.
        num_training_steps: steps between them; the weights are put back afterwards.
    """

    def __init__(
        self, min_lr: float = 1e-6, max_lr: float = 1.0, num_training_steps: int = 100
    ) -> None:
        super().__init__(min_lr, max_lr, num_training_steps, update_attr=False)

    def lr_find(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find a learning rate and train with it."""
        super().lr_find(trainer, pl_module)
        found = self.optimal_lr.suggestion() if self.optimal_lr else None
        if found is None:
            log.warning("No learning rate was found: training goes on with the one it has.")
            return
        (optimizer,) = trainer.optimizers
        ratio = found / optimizer.defaults["lr"]
        for group in optimizer.param_groups:
            for key in ("lr", "initial_lr", "max_lr", "min_lr"):
                if key in group:
                    group[key] *= ratio
        for config in trainer.lr_scheduler_configs:
            if hasattr(config.scheduler, "base_lrs"):
                config.scheduler.base_lrs = [lr * ratio for lr in config.scheduler.base_lrs]
        log.warning("Learning rate found: set model.optimizer.lr=%.3g to keep it.", found)
