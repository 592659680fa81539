"""A model as ONNX, as a `torch.export` program, or as an MLflow model: written, and run again."""

import logging
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from PIL import Image
from torch import Tensor
from torch.export import Dim, ExportedProgram

from src.runtime.tracker import mlflow_format

Exported = Callable[[Tensor], Tensor]

EXAMPLES = 4
BATCH_SIZES = (1, 2, 7)  # one and some, not the example's: a size must not have become a constant


def example(datamodule: LightningDataModule) -> Tensor:
    """Return a batch of inputs as the model takes them, `(4, ...)`.

    Images of noise, for a datamodule that can predict image files: the data of training need not
    be there. For others, the first inputs of the validation set.

    Raises:
        ValueError: if the inputs of a batch are no single tensor.
    """
    if hasattr(datamodule, "predict_dataset"):
        generator = torch.Generator().manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, f"{i}.png") for i in range(EXAMPLES)]
            for path in paths:
                noise = torch.randint(256, (64, 64, 3), generator=generator, dtype=torch.uint8)
                Image.fromarray(noise.numpy()).save(path)
            dataset: Any = datamodule.predict_dataset(paths)  # ty: ignore[not-callable]
            return torch.stack([dataset[i] for i in range(EXAMPLES)])
    datamodule.prepare_data()
    datamodule.setup("validate")
    batch = next(iter(datamodule.val_dataloader()))
    return mlflow_format.inputs_of(batch)[:EXAMPLES]


def differences(model: LightningModule, exported: Exported, inputs: Tensor) -> dict[int, float]:
    """Return the largest difference of an output, for several sizes of the batch.

    Args:
        model: the original, in evaluation mode.
        exported: what was made of it.
        inputs: `(N, ...)`, repeated to fill a batch.
    """
    found = {}
    for size in BATCH_SIZES:
        batch = inputs.repeat(-(-size // len(inputs)), *[1] * (inputs.ndim - 1))[:size]
        with torch.no_grad():
            found[size] = (model(batch) - exported(batch)).abs().max().item()
    return found


def to_torch_export(model: LightningModule, inputs: Tensor, path: Path) -> Exported:
    """Write a `.pt2` file, and return what it holds."""
    torch.export.save(_program(model, inputs), path)
    return torch.export.load(path).module()


def to_onnx(model: LightningModule, inputs: Tensor, path: Path) -> Exported:
    """Write an ONNX file with an input `inputs` and an output `outputs`; run it in onnxruntime."""
    onnxruntime: Any = import_module("onnxruntime")  # of an extra: type checkers may not find it
    for library in ("onnxscript", "onnx_ir"):  # tell of each node that they optimise
        logging.getLogger(library).setLevel(logging.WARNING)
    torch.onnx.export(
        _program(model, inputs),
        f=path,
        input_names=["inputs"],
        output_names=["outputs"],
        external_data=False,  # all in one file
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda batch: torch.from_numpy(session.run(None, {"inputs": batch.numpy()})[0])


def to_mlflow(model: LightningModule, inputs: Tensor, path: Path) -> Exported:
    """Write a folder in MLflow's format, with signature and example, and load it as MLflow does.

    Raises:
        ValueError: if there is something at `path`.
    """
    if path.exists():
        raise ValueError(f"output={path} exists already: give the folder another name")
    mlflow_format.save(model, inputs, path)
    import mlflow.pyfunc

    loaded = mlflow.pyfunc.load_model(str(path))
    return lambda batch: torch.from_numpy(loaded.predict(batch.numpy()))


# By the name of the format: the suffix of its file, and what writes it.
FORMATS: dict[str, tuple[str, Callable[[LightningModule, Tensor, Path], Exported]]] = {
    "onnx": (".onnx", to_onnx),
    "torch_export": (".pt2", to_torch_export),
    "mlflow": ("", to_mlflow),
}


def _program(model: LightningModule, inputs: Tensor) -> ExportedProgram:
    return torch.export.export(model, (inputs,), dynamic_shapes=({0: Dim("batch")},))
