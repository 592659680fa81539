"""Predict what a file or folder holds, with the model and the preparation of a checkpoint."""

import csv
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import move_data_to_device
from omegaconf import DictConfig
from rich.progress import track
from torch import Tensor
from torch.utils.data import default_collate

from src.runtime.build import Objects
from src.runtime.checkpoint_config import config_from_checkpoint, restore_model
from src.runtime.project import ConfigError
from src.runtime.run import open_run

DECIMALS = 6


def predict_to_file(cfg: DictConfig) -> tuple[Path, dict[str, str]]:
    """Predict `cfg.input` with the checkpoint `cfg.ckpt_path`, and write `cfg.output`.

    A datamodule with `prediction_dataset(path)` gives a table with a row for each item. A module
    with a `predict_dataloader` gives the outputs of its `predict_step`, in a `.pt` file.

    Returns:
        The file, and the errors of items that could not be read, by name.

    Raises:
        ConfigError: if there is nothing to predict, or the model does not fit its datamodule.
    """
    cfg = config_from_checkpoint(cfg)
    with open_run(cfg) as run:
        objects = run.build()
        datamodule = objects["datamodule"]
        if hasattr(datamodule, "prediction_dataset"):
            output = _output_file(cfg, ".csv", ".parquet")
            rows = predict_items(cfg, objects)
            _write_table(output, rows)
            return output, {row["name"]: row["error"] for row in rows if row["error"]}
        output = _output_file(cfg, ".pt")
        trainer, model = objects["trainer"], objects["model"]
        torch.save(trainer.predict(model, None, datamodule, ckpt_path=cfg.ckpt_path), output)
        return output, {}


def predict_items(cfg: DictConfig, objects: Objects) -> list[dict[str, Any]]:
    """Return a row for each item of `cfg.input`: its name, prediction and error.

    Raises:
        ConfigError: if there are no items, or the model does not fit its datamodule.
    """
    model, trainer = objects["model"], objects["trainer"]
    datamodule: Any = objects["datamodule"]
    restore_model(model, cfg.ckpt_path, datamodule)
    model.to(trainer.strategy.root_device)
    dataset = datamodule.prediction_dataset(str(cfg.input))
    if not dataset.names:
        raise ConfigError(f"input={cfg.input} holds nothing to predict")
    rows = [dict[str, Any](name=name, prediction=None, error=None) for name in dataset.names]
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        for indices in track(torch.arange(len(rows)).split(cfg.batch_size), "Predicting"):
            items = {}
            for index in indices.tolist():
                try:
                    items[index] = dataset[index]
                except (ValueError, OSError) as error:
                    rows[index]["error"] = f"{type(error).__name__}: {error}"
            if items:
                batch = move_data_to_device(default_collate(list(items.values())), model.device)
                predictions = prediction_rows(model(batch).cpu(), datamodule)
                for index, prediction in zip(items, predictions, strict=True):
                    rows[index] |= prediction
    return rows


def prediction_rows(outputs: Tensor, datamodule: Any) -> list[dict[str, Any]]:
    """Return what a table says about each output: class and probabilities, or numbers.

    Args:
        outputs: of the model: logits `(N, K)` of the K names in `datamodule.class_names`; where
            there are none, numbers `(N, ...)` for `datamodule.to_target_unit`.
        datamodule: the one that the model was trained with.

    Raises:
        ConfigError: if there are not as many logits as classes.
    """
    outputs = outputs.double()
    classes = getattr(datamodule, "class_names", ())
    if not classes:
        if hasattr(datamodule, "to_target_unit"):
            outputs = datamodule.to_target_unit(outputs)
        numbers = outputs.reshape(len(outputs), -1).squeeze(1).round(decimals=DECIMALS)
        return [{"prediction": number} for number in numbers.tolist()]
    if outputs.shape[1:] != (len(classes),):
        raise ConfigError(
            f"The model returns {list(outputs.shape[1:])} numbers for an input, but its datamodule "
            f"has {len(classes)} class_names: it should return a logit for each"
        )
    names = [f"p_{name}" for name in classes]
    rows = []
    for best, probabilities in zip(outputs.argmax(1), outputs.softmax(1), strict=True):
        numbers = probabilities.round(decimals=DECIMALS).tolist()
        rows.append({"prediction": classes[best], **dict(zip(names, numbers, strict=True))})
    return rows


def _output_file(cfg: DictConfig, *suffixes: str) -> Path:
    output = Path(cfg.output or Path(cfg.paths.output_dir, f"predictions{suffixes[0]}"))
    if output.suffix not in suffixes:
        raise ConfigError(f"output={output} must end in {' or '.join(suffixes)}")
    output.parent.mkdir(parents=True, exist_ok=True)
    return output


def _write_table(output: Path, rows: list[dict[str, Any]]) -> None:
    if output.suffix == ".parquet":
        import pandas  # seconds, and an extra

        pandas.DataFrame(rows).to_parquet(output)
        return
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, max(rows, key=len))
        writer.writeheader()
        writer.writerows(rows)
