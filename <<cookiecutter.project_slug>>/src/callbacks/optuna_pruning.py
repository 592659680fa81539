"""End a trial of a search early once it is clear that it will not be the best."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

PRUNERS = {
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
}


class OptunaPruning(Callback):
    """Report a metric after each validation; stop training where the pruner says so.

    The run then ends as any other does, with its checkpoint and its trackers, and the trial carries
    the attribute `pruned` for whoever started it.

    Args:
        storage: URL of the database with the study.
        study_name: of the study.
        trial_number: of this run in the study; None does nothing, so that one trial can be run
            again without a search.
        monitor: the metric to report; its direction is that of the study.
        pruner: one of `PRUNERS`.
        pruner_options: its keyword arguments.

    Raises:
        ValueError: if there is no such pruner.
    """

    def __init__(
        self,
        storage: str,
        study_name: str,
        trial_number: int | None,
        monitor: str,
        pruner: str = "median",
        pruner_options: Mapping[str, Any] | None = None,
    ) -> None:
        if pruner not in PRUNERS:
            known = ", ".join(PRUNERS)
            raise ValueError(f"optuna_pruning.pruner={pruner} is unknown: choose one of {known}")
        self.storage, self.study_name, self.monitor = storage, study_name, monitor
        self.trial_number, self.pruner = trial_number, pruner
        self.pruner_options = dict(pruner_options or {})

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the trial, on rank 0, which alone talks to the database."""
        if self.trial_number is None or not trainer.is_global_zero:
            self.trial = None
            return
        import optuna

        # The random sampler: this process draws nothing, and others would prepare to.
        pruner = getattr(optuna.pruners, PRUNERS[self.pruner])
        study = optuna.load_study(
            study_name=self.study_name,
            storage=self.storage,
            sampler=optuna.samplers.RandomSampler(),
            pruner=pruner(**self.pruner_options),
        )
        frozen = study.get_trials(deepcopy=False)[self.trial_number]
        self.trial = optuna.Trial(study, frozen._trial_id)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and stop on all ranks if the trial is hopeless.

        Raises:
            ValueError: if the metric was not logged.
        """
        if trainer.sanity_checking or self.trial_number is None:
            return
        if self.monitor not in trainer.callback_metrics:
            raise ValueError(f"optuna_pruning.monitor={self.monitor} was not logged")
        hopeless = False
        if self.trial is not None:
            value = trainer.callback_metrics[self.monitor].item()
            self.trial.report(value, trainer.current_epoch)
            over = trainer.current_epoch + 1 == trainer.max_epochs  # then there is nothing to save
            hopeless = not over and self.trial.should_prune()
            if hopeless:
                self.trial.set_user_attr("pruned", True)
        if trainer.strategy.broadcast(hopeless):
            epochs = trainer.current_epoch + 1
            rank_zero_info(f"Trial {self.trial_number} is pruned after {epochs} epochs")
            trainer.should_stop = True
            trainer.fit_loop.min_epochs = 0  # else Lightning goes on to it
