"""Export a model as ONNX, as a `torch.export` program, or in MLflow's format, and compare it."""

import json
import logging
import os
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from omegaconf import DictConfig
from torch import Tensor

from src.runtime.checkpoint_config import config_from_checkpoint
from src.runtime.predict import restore
from src.runtime.project import ConfigError
from src.runtime.run import open_run

log = logging.getLogger(__name__)

Inputs = Tensor | dict[str, Tensor]  # each `(B, ...)`
Exported = Callable[[Inputs], Any]
Metadata = dict[str, str]  # values are JSON

EXAMPLES = 8


def export_to_file(cfg: DictConfig) -> Path:
    """Export the model of the checkpoint `cfg.ckpt_path` as `cfg.format`, and compare the two.

    Returns:
        The path of the file or folder.

    Raises:
        ConfigError: if the format is unknown or not installed, the model is not of the kind that
            can be exported, or the result differs from it by more than `cfg.tolerance`.
    """
    if cfg.format not in FORMATS:
        raise ConfigError(f"format={cfg.format} is unknown: choose {', '.join(FORMATS)}")
    suffix, packages, write = FORMATS[cfg.format]
    if missing := [package for package in packages if find_spec(package) is None]:
        raise ConfigError(f"format={cfg.format} needs {missing[0]}: uv sync --extra export")
    for library in ("onnxscript", "onnx_ir", "mlflow.utils.environment"):  # log every detail
        logging.getLogger(library).setLevel(logging.ERROR)
    cfg = config_from_checkpoint(cfg)
    with open_run(cfg) as run:
        objects = run.build()
        model, datamodule = objects["model"], objects["datamodule"]
        restore(model, datamodule, cfg.ckpt_path)
        inputs = example_inputs(model, datamodule)
        output = Path(cfg.output or Path(cfg.paths.output_dir, f"model{suffix}"))
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent) as folder:
            unchecked = Path(folder, output.name)
            exported = write(model, inputs, unchecked, metadata(datamodule, inputs))
            for batch in (inputs, _map(inputs, lambda tensor: tensor[:1])):  # of any size
                expected = model(batch).detach()
                difference = (torch.as_tensor(exported(batch)) - expected).abs().max().item()
                log.info("Batch of %d: differs by at most %.2g", len(expected), difference)
                if not difference <= cfg.tolerance:  # NaN is a difference
                    raise ConfigError(
                        f"The exported model differs from the original by {difference:.2g}, more "
                        f"than tolerance={cfg.tolerance}: nothing was written"
                    )
            unchecked.replace(output)
    return output


def example_inputs(model: LightningModule, datamodule: Any) -> Inputs:
    """Return a batch of inputs: the model's `example_input_array`, or from the validation data.

    Raises:
        ConfigError: if the inputs are neither a tensor nor a dict of tensors.
    """
    batch: Any = model.example_input_array
    if batch is None:
        if datamodule is not None:
            datamodule.prepare_data()
            datamodule.setup("validate")
        loader = (datamodule or model).val_dataloader()
        batch = next(iter(loader[0] if isinstance(loader, list | tuple) else loader))
    inputs = batch[0] if isinstance(batch, list | tuple) else batch
    if not all(isinstance(tensor, Tensor) for tensor in _named(inputs).values()):
        raise ConfigError(
            "The inputs of a batch are neither a tensor nor a dict of tensors: give the model an "
            "example_input_array that is"
        )
    # Twice, since a single example would make the batch size a constant.
    return _map(inputs, lambda tensor: torch.cat([tensor, tensor])[:EXAMPLES])


def metadata(datamodule: Any, inputs: Inputs) -> Metadata:
    """Return what one needs to know to prepare inputs and to name outputs, each as JSON."""
    names = ("class_names", "mean", "std")
    facts = {name: getattr(datamodule, name) for name in names if hasattr(datamodule, name)}
    facts["input_shape"] = {n: [None, *tensor.shape[1:]] for n, tensor in _named(inputs).items()}
    facts["preparation"] = datamodule.state_dict() if datamodule else {}
    facts["versions"] = {package: version(package) for package in ("torch", "lightning")}
    return {name: json.dumps(fact, default=_plain) for name, fact in facts.items()}


def export_onnx(model: LightningModule, inputs: Inputs, file: Path, facts: Metadata) -> Exported:
    """Write an ONNX file; return a function that runs it in onnxruntime."""
    import onnx  # an extra, as is the next
    import onnxruntime

    names = list(_named(inputs))
    program: Any = torch.onnx.export(
        _program(model, inputs), input_names=names, output_names=["outputs"], verbose=False
    )
    proto = program.model_proto  # a new one each time
    onnx.helper.set_model_props(proto, facts)
    onnx.save(proto, file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {k: v.numpy() for k, v in _named(batch).items()})[0]


def export_program(model: LightningModule, inputs: Inputs, file: Path, facts: Metadata) -> Exported:
    """Write a `.pt2` file; return the program in it."""
    torch.export.save(_program(model, inputs), file, extra_files=facts)
    return torch.export.load(file).module()


def export_mlflow(model: LightningModule, inputs: Inputs, file: Path, facts: Metadata) -> Exported:
    """Write a folder in MLflow's format; return a function that loads and runs it as MLflow does.

    Raises:
        ConfigError: if the inputs are no single tensor.
    """
    if not isinstance(inputs, Tensor):
        raise ConfigError("format=mlflow takes a model of one tensor: use onnx or torch_export")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow.pytorch  # seconds, and perhaps an extra

    mlflow.pytorch.save_model(
        model,
        file,
        input_example=inputs.numpy(),
        pip_requirements=[f"torch=={version('torch')}", "mlflow"],  # guessing takes 10 s
        serialization_format="pt2",  # needs no code of this project
        metadata=facts,
    )
    loaded = mlflow.pyfunc.load_model(str(file))
    return lambda batch: loaded.predict(_named(batch)["inputs"].numpy())


# By the name of the format: suffix, packages, and what writes it.
FORMATS: dict[str, tuple[str, list[str], Callable[..., Exported]]] = {
    "onnx": (".onnx", ["onnx", "onnxscript", "onnxruntime"], export_onnx),
    "torch_export": (".pt2", [], export_program),
    "mlflow": ("", ["mlflow"], export_mlflow),
}


def _program(model: LightningModule, inputs: Inputs) -> torch.export.ExportedProgram:
    shapes = _map(inputs, lambda tensor: {0: torch.export.Dim("batch")})
    return torch.export.export(model, (inputs,), dynamic_shapes=(shapes,))


def _map(inputs: Inputs, function: Callable[[Tensor], Any]) -> Any:
    if isinstance(inputs, dict):
        return {name: function(tensor) for name, tensor in inputs.items()}
    return function(inputs)


def _named(inputs: Inputs) -> dict[str, Tensor]:
    return inputs if isinstance(inputs, dict) else {"inputs": inputs}


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
