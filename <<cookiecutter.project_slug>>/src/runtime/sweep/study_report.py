"""What a search found: a table, plots, and the best trial as an experiment that can be run."""

import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import OmegaConf

from src.runtime import console

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

ROWS = 10  # of the table on the terminal; trials.csv has all
DROPPED = ("hydra.", "hydra/", "common/search", "common/logger", "paths.", "trial_number")


def write(
    study: "Study",
    folder: Path,
    experiment_file: Path,
    fixed: Sequence[str],
    is_group: Callable[[str], bool],
) -> None:
    """Write `trials.csv` and plots to `folder`, the best trial to `experiment_file`, and print.

    Args:
        study: with several objectives, the best trials are those that no other one dominates, and
            the experiment is the first of them.
        folder: of the sweep.
        experiment_file: replaced if it exists.
        fixed: the overrides that all trials had.
        is_group: says whether a name is that of a config group.
    """
    from optuna.trial import TrialState

    folder.mkdir(parents=True, exist_ok=True)
    study.trials_dataframe().to_csv(folder / "trials.csv", index=False)
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not completed:
        log.warning("No trial was completed: there is no best one.")
        return
    best = study.best_trials
    _plot(study, folder)
    overrides = [*fixed, *(f"{key}={value}" for key, value in best[0].params.items())]
    experiment_file.parent.mkdir(parents=True, exist_ok=True)
    experiment_file.write_text(as_experiment(overrides, is_group, _header(study, best[0])))
    _print(study, completed, best, folder, experiment_file)


def as_experiment(overrides: Sequence[str], is_group: Callable[[str], bool], header: str) -> str:
    """Return overrides of the command line as the text of an experiment."""
    defaults: list[Any] = []
    values = OmegaConf.create()
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        group = key.partition("@")[0]
        if key.startswith(DROPPED):
            continue
        if key == "experiment":
            defaults.insert(0, value)
        elif is_group(group):
            defaults.append({f"override /{key}": value})
        else:
            OmegaConf.update(values, key, yaml.safe_load(value))
    defaults.append("_self_")
    text = OmegaConf.to_yaml(OmegaConf.create({"defaults": defaults}))
    return f"# @package _global_\n{header}{text}{OmegaConf.to_yaml(values) if values else ''}"


def _header(study: "Study", trial: "FrozenTrial") -> str:
    values = ", ".join(f"{value:.6g}" for value in trial.values or ())
    return (
        f"# The best of {len(study.trials)} trials of the search {study.study_name}: "
        f"trial {trial.number}, {values}.\n"
    )


def _plot(study: "Study", folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import warnings

    import matplotlib.pyplot as plt
    import optuna
    from optuna.visualization import matplotlib as plots

    target: Any = (lambda trial: trial.values[0]) if len(study.directions) > 1 else None
    wanted = {
        "history": plots.plot_optimization_history,
        "parallel_coordinate": plots.plot_parallel_coordinate,
        "importance": plots.plot_param_importances,
    }
    for name, plot in wanted.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.simplefilter("ignore", UserWarning)  # of the layout
            try:
                plot(study, target=target)
            except (RuntimeError, ValueError) as error:  # too few trials, or all alike
                log.info("No plot of the %s: %s", name.replace("_", " "), error)
                continue
            plt.gcf().savefig(folder / f"{name}.png", dpi=120, bbox_inches="tight")
            plt.close("all")


def _print(
    study: "Study",
    completed: Sequence["FrozenTrial"],
    best: Sequence["FrozenTrial"],
    folder: Path,
    experiment_file: Path,
) -> None:
    names = sorted({name for trial in completed for name in trial.params})
    last = [re.split("[./]", name)[-1] for name in names]
    titles = {n: n if last.count(part) > 1 else part for n, part in zip(names, last, strict=True)}
    sign = -1 if study.directions[0].name == "MAXIMIZE" else 1
    numbers = {trial.number for trial in best}
    ranked = sorted(
        completed, key=lambda t: (t.number not in numbers, sign * (t.values or [0.0])[0])
    )
    console.print_table(
        [
            {"trial": str(trial.number), "value": ", ".join(map(_shown, trial.values or ()))}
            | {title: _shown(trial.params.get(name)) for name, title in titles.items()}
            for trial in ranked[:ROWS]
        ]
    )
    states = [trial.state.name.lower() for trial in study.trials]
    counts = ", ".join(f"{states.count(s)} {s}" for s in ("complete", "pruned", "fail"))
    print(f"{len(states)} trials: {counts}; table and plots in {folder}")
    print(f"Run the best one: python src/train.py experiment={experiment_file.stem}")


def _shown(value: Any) -> str:
    if value is None:  # another trial's condition
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
