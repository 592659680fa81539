"""What trackers do differently, made one: tags, files, and failing."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import DummyExperiment

log = logging.getLogger(__name__)

GUARDED = (
    *("log_metrics", "log_hyperparams", "log_graph", "log_image", "save", "finalize"),
    "after_save_checkpoint",
)


def tell(logger: Logger, tags: Mapping[str, str], files: Sequence[Path]) -> None:
    """Give a tracker tags and text files, if it takes them. Whatever it raises is logged."""
    try:
        _set_tags(logger, tags)
        for path in files:
            _send_file(logger, path)
    except Exception as error:
        _report(logger, error)


def guarded(logger: Logger) -> Logger:
    """Return the logger so changed that it cannot end a run: what it raises is logged, once.

    A tracker that cannot even start its run is left out of this one.
    """
    own = type(logger)
    safe: dict[str, Any] = {
        name: _safe(getattr(own, name)) for name in GUARDED if hasattr(own, name)
    }
    safe["experiment"] = property(_safe_experiment(own))
    logger.__class__ = type(own.__name__, (own,), safe)
    return logger


def _safe(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: Logger, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            _report(self, error)
            return None

    return call


def _safe_experiment(own: type[Logger]) -> Callable[[Logger], Any]:
    def experiment(self: Logger) -> Any:
        if "_left_out" in vars(self):
            return DummyExperiment()
        try:
            return own.experiment.fget(self)  # ty: ignore[missing-attribute]
        except Exception as error:
            _report(self, error)
            vars(self)["_left_out"] = True
            return DummyExperiment()

    return experiment


def _report(logger: Logger, error: Exception) -> None:
    if "_reported" not in vars(logger):
        vars(logger)["_reported"] = True
        log.warning(
            "%s failed (%s: %s). Training goes on; further failures of it are not reported.",
            type(logger).__name__,
            type(error).__name__,
            error,
        )


def _set_tags(logger: Logger, tags: Mapping[str, str]) -> None:
    if isinstance(logger, MLFlowLogger):
        for key, value in tags.items():
            logger.experiment.set_tag(logger.run_id, key, value)
    elif isinstance(logger, WandbLogger):
        own = [key if value == "true" else f"{key}={value}"[:64] for key, value in tags.items()]
        logger.experiment.tags = (*(logger.experiment.tags or ()), *own)
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_text("tags", ", ".join(f"{k}={v}" for k, v in tags.items()))


def _send_file(logger: Logger, path: Path) -> None:
    if isinstance(logger, MLFlowLogger):
        logger.experiment.log_artifact(logger.run_id, str(path))
    elif isinstance(logger, WandbLogger):
        logger.experiment.save(str(path), base_path=str(path.parent), policy="now")
    elif isinstance(logger, TensorBoardLogger):
        text = path.read_text(encoding="utf-8")
        logger.experiment.add_text(path.name, "\n".join(f"    {x}" for x in text.splitlines()))
