"""The trials of an Optuna study: begun, drawn, kept alive while they run, and ended."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.utils import JobReturn, JobStatus

if TYPE_CHECKING:
    from optuna import Study, Trial

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS, GRACE_SECONDS = 5, 20  # a trial without a heartbeat this long counts as dead


def ask(study: "Study", n_trials: int) -> "Trial | None":
    """Begin a trial; None if another process began the last one at the same instant."""
    from optuna.trial import TrialState

    trial = study.ask()
    before = study.get_trials(deepcopy=False)[: trial.number]
    if sum(t.state != TrialState.FAIL for t in before) < n_trials:
        return trial
    study.tell(trial, state=TrialState.FAIL)
    return None


def draw(trial: "Trial", override: Override) -> str:
    """Draw a value for one of Hydra's sweeps, and return the override that sets it."""
    key, sweep = override.get_key_element(), override.value()
    if isinstance(sweep, IntervalSweep):
        low, high = sweep.start, sweep.end
        assert low is not None
        assert high is not None
        value = _number(trial, low, high)(key, low, high, log="log" in sweep.tags)
    elif isinstance(sweep, RangeSweep):
        start, stop, step = sweep.start, sweep.stop, sweep.step
        assert start is not None
        assert stop is not None
        last = start + step * (-(-(stop - start) // step) - 1)  # Hydra's range leaves out its end
        value = _number(trial, start, stop, step)(key, start, last, step=step)
    elif override.is_sweep_override():
        value = trial.suggest_categorical(key, list(override.sweep_string_iterator()))
    else:
        value = override.get_value_element_as_str()
    return f"{key}={value}"


def _number(trial: "Trial", *given: float) -> Callable[..., float]:
    whole = all(isinstance(number, int) for number in given)
    return trial.suggest_int if whole else trial.suggest_float


def tell(study: "Study", trial: "Trial", result: JobReturn) -> bool:
    """Record how a trial ended; return whether it failed."""
    from optuna.trial import TrialState

    value = result._return_value  # an exception, if it raised one
    values = list(value) if isinstance(value, list | tuple) else [value]
    wanted = len(study.directions)
    problem = None
    if result.status != JobStatus.COMPLETED:
        problem = f"failed: {value}"
    elif len(values) != wanted or any(v is None or v != v for v in values):
        problem = f"returned {value}: set optimized_metric to {wanted} metric(s), of numbers"
    if problem:
        log.error("Trial %d %s", trial.number, problem)
        study.tell(trial, state=TrialState.FAIL)
        return True
    # By the callback that stopped it, in whatever process the trial ran:
    pruned = "pruned" in study.get_trials(deepcopy=False)[trial.number].user_attrs
    if pruned:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, values)
    log.info("Trial %d %s: %s", trial.number, "pruned" if pruned else "completed", values)
    return False


class Heartbeat:
    """Say that the trials of a batch are alive; fail them if the launcher raises."""

    def __init__(self, storage: Any, trials: Sequence["Trial"], study: "Study") -> None:
        self.storage, self.trials, self.study = storage, trials, study
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._beat, name="trial-heartbeat", daemon=True)

    def _beat(self) -> None:
        while True:
            for trial in self.trials:
                self.storage.record_heartbeat(trial._trial_id)
            if self.over.wait(HEARTBEAT_SECONDS):
                return

    def __enter__(self) -> None:
        """Begin, in a thread."""
        self.thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End."""
        self.over.set()
        self.thread.join()
        if kind is not None:
            from optuna.trial import TrialState

            for trial in self.trials:
                self.study.tell(trial, state=TrialState.FAIL)
