"""The command line: Hydra's, with a user's mistakes told in a line or two."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from src.runtime import identity, schema

identity.register()
schema.register()


def run(main: Callable[[], Any]) -> None:
    """Run a Hydra application and exit with 1 on a mistake, which is told without a traceback.

    `HYDRA_FULL_ERROR=1` shows the traceback all the same.
    """
    if os.environ.get("HYDRA_FULL_ERROR"):
        main()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print at length
    try:
        main()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        print(f"Error: {error}", file=sys.stderr)
        if isinstance(error.__cause__, OmegaConfBaseException):
            print(error.__cause__, file=sys.stderr)
        sys.exit(1)


def optimized_metric(cfg: DictConfig, metrics: Mapping[str, Any]) -> float | None:
    """Return the metric that `cfg.optimized_metric` names, or None if it names none.

    Raises:
        ValueError: if the run did not log it.
    """
    name = cfg.get("optimized_metric")
    if name is None:
        return None
    if name not in metrics:
        raise ValueError(
            f"optimized_metric={name} was not logged; choose one of {', '.join(sorted(metrics))}"
        )
    return float(metrics[name])
