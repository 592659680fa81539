"""Export a model as ONNX, as a `torch.export` program, or in MLflow's format, and compare it."""

import json
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning_utilities import apply_to_collection
from omegaconf import DictConfig
from torch import Tensor

from src.runtime.checkpoint_config import config_from_checkpoint, restore_model
from src.runtime.project import ConfigError
from src.runtime.run import open_run

FILE_NAMES = {"onnx": "model.onnx", "torch_export": "model.pt2", "mlflow": "model"}


def export_to_file(cfg: DictConfig) -> Path:
    """Export the model of the checkpoint `cfg.ckpt_path` as `cfg.format`, and compare the two.

    Returns:
        The path of the file or folder.

    Raises:
        ConfigError: if the format is unknown or not installed, the model is not of the kind that
            can be exported, or the result differs from it by more than `cfg.tolerance`.
    """
    if cfg.format not in FILE_NAMES:
        raise ConfigError(f"format={cfg.format} is unknown: choose {', '.join(FILE_NAMES)}")
    if cfg.format == "onnx" and find_spec("onnxruntime") is None:
        raise ConfigError("format=onnx needs onnxruntime. Type: uv pip install -e '.[export]'")
    cfg = config_from_checkpoint(cfg)
    with open_run(cfg) as run:
        objects = run.build()
        model, datamodule = objects["model"], objects["datamodule"]
        restore_model(model, cfg.ckpt_path, datamodule)
        inputs = example_inputs(model, datamodule)
        output = Path(cfg.output or Path(cfg.paths.output_dir, FILE_NAMES[cfg.format]))
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent) as folder:
            draft = Path(folder, output.name)
            outputs = write_model(cfg.format, model, inputs, metadata(datamodule), draft)
            expected = model(inputs)
            differences = torch.as_tensor(outputs) - expected
            difference = differences.abs().max()
            if not difference <= cfg.tolerance:  # NaN is a difference
                raise ConfigError(f"It differs from the original: {difference:.2g} > tolerance")
            draft.replace(output)
    return output


def example_inputs(model: LightningModule, datamodule: Any) -> Any:
    """Return inputs `(B, ...)`: the model's `example_input_array`, or of the validation data."""
    batch: Any = model.example_input_array
    if batch is None and datamodule is not None:
        datamodule.prepare_data()
        datamodule.setup("validate")
        loaders = datamodule.val_dataloader()
        batch = next(iter(loaders[0] if isinstance(loaders, list) else loaders))
    inputs = batch[0] if isinstance(batch, list | tuple) else batch
    if not isinstance(inputs, Tensor | dict):
        raise ConfigError("The model needs an example_input_array: a tensor or a dict of tensors")
    # Twice, since a single example would make the batch size a constant.
    return apply_to_collection(inputs, Tensor, lambda x: torch.cat([x, x])[:8])


def metadata(datamodule: Any) -> dict[str, str]:
    """Return what one needs to know to prepare inputs and to name outputs, each as JSON."""
    facts = {"preparation": datamodule.state_dict() if datamodule else {}}
    for name in ("class_names", "mean", "std"):
        facts[name] = getattr(datamodule, name, None)
    return {name: json.dumps(fact, default=Tensor.tolist) for name, fact in facts.items()}


def write_model(format: str, model: LightningModule, inputs: Any, facts: Any, path: Path) -> Any:
    """Write a model with its metadata, and return what the written one computes of the inputs.

    Raises:
        ConfigError: if MLflow's format cannot hold the model.
    """
    if format == "mlflow":
        return write_mlflow(model, inputs, facts, path)
    shapes = apply_to_collection(inputs, Tensor, lambda tensor: {0: torch.export.Dim("batch")})
    program = torch.export.export(model, (inputs,), dynamic_shapes=(shapes,))
    if format == "torch_export":
        torch.export.save(program, path, extra_files=facts)
        return torch.export.load(path).module()(inputs)
    names = list(inputs) if isinstance(inputs, dict) else ["inputs"]
    onnx: Any = torch.onnx.export(program, input_names=names, verbose=False)
    onnx.model.metadata_props.update(facts)
    onnx.save(path)
    return onnx(inputs)[0]  # with onnxruntime


def write_mlflow(model: LightningModule, inputs: Any, facts: Any, path: Path) -> Any:
    """Write a folder for `mlflow models serve`, and return what it computes of the inputs.

    Raises:
        ConfigError: if the model takes more than a tensor.
    """
    if not isinstance(inputs, Tensor):
        raise ConfigError("format=mlflow takes one tensor: use onnx or torch_export")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow.pytorch  # seconds, and perhaps an extra

    mlflow.pytorch.save_model(
        model,
        path,
        input_example=inputs.numpy(),
        # Guessing them takes 10 seconds.
        pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", "mlflow"],
        serialization_format="pt2",  # needs no code of this project
        metadata=facts,
    )
    return mlflow.pyfunc.load_model(str(path)).predict(inputs.numpy())
