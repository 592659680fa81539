"""The end of a run: its best checkpoint, its results, its trackers closed."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from src.runtime import console, tracking

if TYPE_CHECKING:
    from src.runtime.build import Objects

log = logging.getLogger(__name__)


@contextmanager
def closed_at_the_end(objects: "Objects", metrics: dict[str, Tensor]) -> Generator[None]:
    """Show the results of the run inside the `with`; close its trackers whatever happens."""
    trainer = objects["trainer"]
    status = "failed"
    try:
        yield
        status = "success"
        if trainer.is_global_zero:
            _print_results(objects, metrics)
    finally:
        for logger in objects["loggers"]:
            logger.finalize(status)
        tracking.close(objects["loggers"])


def best_checkpoint(trainer: Trainer) -> str | None:
    """Return the path of the best checkpoint, or None (the weights as they are) with a warning."""
    callback = trainer.checkpoint_callback
    path = callback.best_model_path if isinstance(callback, ModelCheckpoint) else ""
    if not path:
        log.warning("No checkpoint was written: the test uses the weights of the last step.")
    return path or None


def _print_results(objects: "Objects", metrics: dict[str, Tensor]) -> None:
    trainer = objects["trainer"]
    callback = trainer.checkpoint_callback
    substitute = tracking.substitute_of(trainer)
    console.print_results(
        {name: value.item() for name, value in metrics.items()},
        {
            "run directory": objects["cfg"].paths.output_dir,
            "best checkpoint": callback.best_model_path
            if isinstance(callback, ModelCheckpoint)
            else None,
            "open tracker": tracking.open_command(objects["loggers"]),
        },
        f"Trained on {substitute} instead of the dataset asked for." if substitute else None,
    )
