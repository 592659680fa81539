"""The command line: Hydra's, with a user's mistakes told in a line or two."""

import functools
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from src.runtime import garbage, hydra_versions, identity, signals
from src.runtime.checkpoint import checkpoint_paths
from src.runtime.config import completion, extras, overrides, schema
from src.runtime.process import ranks
from src.runtime.sweep import composition
from src.runtime.tracker import mlflow_config

identity.register()
schema.register()
if hydra_versions.IS_1_3:
    composition.install()
setup_globals()  # `${hydra:...}`, which Hydra forgets for --experimental-rerun
# Of `hydra/launcher`: that its keys are checked is what we want.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/.*' is validated against ConfigStore schema")
# Lightning 2.6 asks in a way that torch 2.15 no longer wants to be asked.
warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")

MISTAKES = (HydraException, OmegaConfBaseException, OSError, RuntimeError, ValueError)
# Lightning's, for each batch: what a library finds wrong in hours of training, one wants to see.
BATCHES = {"advance", "_evaluation_step", "_predict_step"}
_traceback_wanted = bool(os.environ.get("HYDRA_FULL_ERROR"))


def run(
    main: Callable[[], Any],
    config_name: str,
    arguments: Callable[[list[str]], list[str]] | None = None,
) -> None:
    """Run a Hydra application and exit with 1 on a mistake, which is told without a traceback.

    `HYDRA_FULL_ERROR=1` shows the traceback all the same, and so does what a library finds wrong:
    there it is the code that one wants to see.

    Args:
        main: decorated with `hydra.main`.
        config_name: of its configuration.
        arguments: called with the command line; returns what Hydra reads in its place.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print at length
    garbage.put_off()
    if set(overrides.LOOKING) & set(sys.argv) and hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head -1` ends as `cat` would
    try:
        if completion.is_asked(sys.argv):
            return completion.answer(sys.argv, config_name, main)
        if {"--help", "-h"} & set(sys.argv):  # Hydra would read all files of all groups first
            from src.runtime.config import help_text

            return print(help_text.help_text(config_name))
        if "--hydra-help" in sys.argv:
            sys.argv[1:] = ["--hydra-help"]  # for which Hydra would compose without the project
        with signals.handled():
            overrides.check(sys.argv[1:])
            extras.check_plugins(sys.argv[1:])
            ranks.end_with_parent()
            if arguments and not ranks.is_child():  # which gets what came of it
                sys.argv[1:] = arguments(sys.argv[1:])
            sys.argv[1:] = ranks.arguments_of_this_rank(sys.argv[1:])
            main()
    except MISTAKES as error:
        if not is_told(error):
            raise
        fail(error)
    finally:
        if not _traceback_wanted:
            del os.environ["HYDRA_FULL_ERROR"]


def task(function: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """Decorate what `hydra.main` runs: check the configuration, then tell mistakes in a line.

    In a sweep a mistake stays an exception: it is this job's, and the others go on. A signal that
    comes while the run imports what it needs waits until it can be recorded. What MLflow needs is
    imported meanwhile, by its own process.
    """

    @functools.wraps(function)
    def checked(cfg: DictConfig) -> Any:
        try:
            from src.runtime.config import guards  # where nothing runs, nothing is checked

            with signals.deferred():
                guards.check_config(cfg)
                for key in ("ckpt_path", "init_from"):
                    if cfg.get(key):
                        checkpoint_paths.check(key, cfg[key])
                mlflow_config.start_ahead(cfg)
                return function(cfg)
        except MISTAKES as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN or not is_told(error):
                raise
            fail(error)

    return checked


def is_told(error: BaseException) -> bool:
    """Say whether a line tells all.

    So it is with Hydra's errors, and a ValueError that this project raised; and, before the first
    batch, with a file that cannot be used, weights that do not fit a model, and a ValueError by
    which Hydra or a constructor refuses what it was given.
    """
    places = traceback.extract_tb(error.__traceback__)
    if _traceback_wanted or not isinstance(error, MISTAKES) or not places:
        return False
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return True
    place = places[-1]
    is_raised = isinstance(error, ValueError) and (place.line or "").startswith("raise ")
    if identity.is_own(place.filename) and is_raised:
        return True
    if BATCHES & {place.name for place in places}:
        return False
    if isinstance(error, OSError):
        return error.filename is not None
    is_of_hydra = "hydra" in Path(place.filename).parts
    is_refused = is_raised and (is_of_hydra or place.name == "__init__")
    return is_refused or place.name == "load_state_dict"


def fail(error: Exception) -> NoReturn:
    """Tell a mistake in a line or two on standard error, and exit with 1."""
    from src.runtime.config import errors

    print(f"Error: {errors.explain(error)}", file=sys.stderr)
    sys.exit(1)


def compose(config_name: str, *arguments: str) -> DictConfig:
    """Compose a configuration of this project."""
    from hydra import compose, initialize_config_dir

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(overrides.CONFIGS), **hydra_versions.INITIALIZE):
        return compose(config_name, overrides=list(arguments), return_hydra_config=True)


def optimized_metric(
    cfg: DictConfig, metrics: Mapping[str, Any]
) -> float | tuple[float, ...] | None:
    """Return the metric that `cfg.optimized_metric` names, None if it names none, or several.

    Raises:
        ValueError: if the run did not log it.
    """
    from src.runtime.config.guards import optimized_metrics

    names = optimized_metrics(cfg)
    for name in names:
        if name not in metrics:
            known = ", ".join(sorted(metrics))
            raise ValueError(f"optimized_metric={name} was not logged; choose one of {known}")
    values = tuple(float(metrics[name]) for name in names)
    return values if len(values) > 1 else next(iter(values), None)
