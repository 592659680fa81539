"""Models in MLflow's format: to load and to serve without this project's code.

MLflow, which takes seconds to import, is imported by the first model that is saved.
"""

import logging
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from src.runtime.checkpoint import checkpoints

EXAMPLE = "example.npy"

_tracing = threading.Lock()  # torch.export changes torch itself while it traces a model


def inputs_of(batch: Any) -> Tensor:
    """Return the inputs of a batch.

    Raises:
        ValueError: if they are no single tensor, which is all that can be exported here.
    """
    inputs = batch[0] if isinstance(batch, list | tuple) else batch
    if not isinstance(inputs, Tensor):
        raise ValueError(
            f"the model takes {type(inputs).__name__}, but only models of one tensor are exported"
        )
    return inputs


def save(
    model: LightningModule, inputs: Tensor, path: Path, extra_files: Sequence[Path] = ()
) -> None:
    """Save a model, with its signature and an example of its input, to a folder.

    Args:
        model: in evaluation mode, on the CPU.
        inputs: the example, `(N, ...)`; torch would take a batch of one for a constant.
        path: must not exist yet.
        extra_files: copied beside the model.

    Raises:
        Exception: whatever torch says of a model that it cannot export.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # of one file
    # It would tell everyone who uses uv that their environment has no pip.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    import mlflow.pytorch
    from mlflow.models import infer_signature

    with torch.no_grad():
        signature = infer_signature(inputs.numpy(), model(inputs).numpy())
    mlflow.pytorch.save_model(
        model,
        path,
        signature=signature,
        input_example=inputs.numpy(),
        pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", "mlflow"],
        serialization_format="pt2",  # no code of this project is needed to load it
        extra_files=[str(file) for file in extra_files] or None,
    )


def save_checkpoint(checkpoint: Path) -> None:
    """Save the model of a checkpoint beside it, in the folder `model`: whole, or not at all.

    Args:
        checkpoint: has a batch of inputs, `(N, ...)`, beside it, in the file `EXAMPLE`.
    """
    inputs = torch.from_numpy(np.load(checkpoint.with_name(EXAMPLE)))
    with _tracing, tempfile.TemporaryDirectory(dir=checkpoint.parent) as scratch:
        unfinished = Path(scratch, "model")
        save(checkpoints.load_model(checkpoint), inputs, unfinished, [checkpoint])
        unfinished.rename(checkpoint.with_name("model"))
