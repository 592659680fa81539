"""What a checkpoint is used for after training: predict what a file or folder holds, or export.

An export (ONNX, a `torch.export` program, MLflow's format) is compared with the original.
"""

import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import move_data_to_device
from lightning_utilities import apply_to_collection
from omegaconf import DictConfig
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import default_collate

from src.runtime.build import Objects
from src.runtime.checkpoint_config import config_from_checkpoint, restore_for_eval
from src.runtime.project import ConfigError
from src.runtime.report import write_csv
from src.runtime.run import open_run

FILE_NAMES = {"onnx": "model.onnx", "torch_export": "model.pt2", "mlflow": "model"}


def predict_to_file(cfg: DictConfig) -> tuple[Path, dict[str, str]]:
    """Write predictions for `cfg.input`; return the path and errors of unreadable items.

    A datamodule with `prediction_dataset(path)` gives a table with a row for each item. A module
    with a `predict_dataloader` gives the outputs of its `predict_step`, in a `.pt` file.

    Returns:
        The file, and the errors of items that could not be read, by name.

    Raises:
        ConfigError: if there is nothing to predict, or the model does not fit its datamodule.
    """
    cfg = config_from_checkpoint(cfg)
    with open_run(cfg) as run:
        objects = run.build_objects()
        trainer, model, datamodule = objects["trainer"], objects["model"], objects["datamodule"]
        output = Path(cfg.output or Path(cfg.paths.output_dir, "predictions.csv"))
        output.parent.mkdir(parents=True, exist_ok=True)
        if not hasattr(datamodule, "prediction_dataset"):
            output = output.with_suffix(".pt")
            torch.save(trainer.predict(model, None, datamodule, ckpt_path=cfg.ckpt_path), output)
            return output, {}
        if output.suffix not in (".csv", ".parquet"):
            raise ConfigError(f"output={output} must end in .csv or .parquet")
        rows = predict_rows(cfg, objects)
        if output.suffix == ".csv":
            write_csv(output, rows)
        else:
            import pandas  # seconds, and an extra

            pandas.DataFrame(rows).to_parquet(output)
        return output, {row["name"]: row["error"] for row in rows if row["error"]}


def predict_rows(cfg: DictConfig, objects: Objects) -> list[dict[str, Any]]:
    """Load `cfg.ckpt_path`, and return one row per input item, with prediction or error.

    Raises:
        ConfigError: if there are no items, or the model does not fit its datamodule.
    """
    model, trainer = objects["model"], objects["trainer"]
    datamodule: Any = objects["datamodule"]
    restore_for_eval(model, cfg.ckpt_path, datamodule)
    model.to(trainer.strategy.root_device)
    dataset = datamodule.prediction_dataset(str(cfg.input))
    if not dataset.names:
        raise ConfigError(f"input={cfg.input} holds nothing to predict")
    rows = [dict[str, Any](name=name, prediction=None, error=None) for name in dataset.names]
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        for start in track(range(0, len(rows), cfg.batch_size), "Predicting"):
            readable, items = [], []
            for index, row in enumerate(rows[start : start + cfg.batch_size], start):
                try:
                    items.append(dataset[index])
                    readable.append(row)
                except (ValueError, OSError) as error:
                    row["error"] = f"{type(error).__name__}: {error}"
            if readable:
                batch = move_data_to_device(default_collate(items), model.device)
                predictions = rows_from_outputs(model(batch).float().cpu(), datamodule)
                for row, prediction in zip(readable, predictions, strict=True):
                    row.update(prediction)
    return rows


def rows_from_outputs(outputs: Tensor, datamodule: Any) -> list[dict[str, Any]]:
    """Convert outputs to prediction rows: class and probabilities, or regression values.

    Args:
        outputs: of the model: logits `(N, K)` of the K names in `datamodule.class_names`; where
            there are none, numbers `(N, ...)` for `datamodule.to_target_unit`.
        datamodule: the one that the model was trained with.

    Raises:
        ConfigError: if there are not as many logits as classes.
    """
    classes = getattr(datamodule, "class_names", ())
    if not classes:
        if hasattr(datamodule, "to_target_unit"):
            outputs = datamodule.to_target_unit(outputs)
        numbers = outputs.reshape(len(outputs), -1).squeeze(1)
        return [{"prediction": number} for number in numbers.tolist()]
    if outputs.shape[1:] != (len(classes),):
        raise ConfigError(f"the outputs {list(outputs.shape)} are no logit for each class_name")
    names = [f"p_{name}" for name in classes]
    rows = []
    for best, probabilities in zip(outputs.argmax(1), outputs.softmax(1), strict=True):
        by_name = dict(zip(names, probabilities.tolist(), strict=True))
        rows.append({"prediction": classes[best]} | by_name)
    return rows


def export_to_file(cfg: DictConfig) -> Path:
    """Export a model, compare it with the original, and return the output path.

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
        objects = run.build_objects()
        model, datamodule = objects["model"], objects["datamodule"]
        restore_for_eval(model, cfg.ckpt_path, datamodule)
        inputs = example_input_batch(model, datamodule)
        output = Path(cfg.output or Path(cfg.paths.output_dir, FILE_NAMES[cfg.format]))
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent) as folder:
            draft = Path(folder, output.name)
            outputs = export_and_run(cfg.format, model, inputs, export_metadata(datamodule), draft)
            expected = model(inputs)
            largest = (torch.as_tensor(outputs) - expected).abs().max()
            difference = largest / (1 + expected.abs().max())
            if not difference <= cfg.tolerance:  # NaN is a difference
                raise ConfigError(f"It differs from the original: {difference:.2g} > tolerance")
            draft.replace(output)
    return output


def example_input_batch(model: LightningModule, datamodule: Any) -> Any:
    """Return example inputs `(B, ...)` from `example_input_array` or the validation data."""
    batch: Any = model.example_input_array
    if batch is None and datamodule is not None:
        datamodule.prepare_data()
        datamodule.setup("validate")
        loaders = datamodule.val_dataloader()
        batch = next(iter(loaders[0] if isinstance(loaders, list) else loaders))
        batch = datamodule.on_after_batch_transfer(batch, 0)
    inputs = batch[0] if isinstance(batch, list | tuple) else batch
    if not isinstance(inputs, Tensor | dict):
        raise ConfigError("The model needs an example_input_array: a tensor or a dict of tensors")
    # Twice, since a single example would make the batch size a constant.
    return apply_to_collection(inputs, Tensor, lambda x: torch.cat([x, x])[:8])


def export_metadata(datamodule: Any) -> dict[str, str]:
    """Return the datamodule's state, class names, mean and std, each as a JSON string."""
    metadata = {"preparation": datamodule.state_dict() if datamodule else {}}
    for name in ("class_names", "mean", "std"):
        metadata[name] = getattr(datamodule, name, None)
    return {name: json.dumps(item, default=Tensor.tolist) for name, item in metadata.items()}


def export_and_run(format: str, model: nn.Module, inputs: Any, metadata: Any, path: Path) -> Any:
    """Export the model to a file or folder, and return the exported model's outputs.

    Raises:
        ConfigError: if MLflow's format cannot hold the model.
    """
    if format == "mlflow":
        if not isinstance(inputs, Tensor):
            raise ConfigError("format=mlflow takes one tensor: use onnx or torch_export")
        import mlflow.pytorch  # seconds, and perhaps an extra

        mlflow.pytorch.save_model(
            model,
            path,
            input_example=inputs.numpy(),
            # Guessing them takes 10 seconds.
            pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", "mlflow"],
            serialization_format="pt2",  # needs no code of this project
            metadata=metadata,
        )
        return mlflow.pyfunc.load_model(str(path)).predict(inputs.numpy())
    shapes = apply_to_collection(inputs, Tensor, lambda tensor: {0: torch.export.Dim("batch")})
    program = torch.export.export(model, (inputs,), dynamic_shapes=(shapes,))
    if format == "torch_export":
        torch.export.save(program, path, extra_files=metadata)
        return torch.export.load(path).module()(inputs)
    names = list(inputs) if isinstance(inputs, dict) else ["inputs"]
    onnx: Any = torch.onnx.export(program, input_names=names, verbose=False)
    onnx.model.metadata_props.update(metadata)
    onnx.save(path)
    return onnx(inputs)[0]  # with onnxruntime
