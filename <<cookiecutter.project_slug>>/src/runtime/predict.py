"""Predict what a file or folder holds, with the model and the preparation of a checkpoint."""

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
from src.runtime.report import write_csv
from src.runtime.run import open_run


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
        trainer, model, datamodule = objects["trainer"], objects["model"], objects["datamodule"]
        output = Path(cfg.output or Path(cfg.paths.output_dir, "predictions.csv"))
        output.parent.mkdir(parents=True, exist_ok=True)
        if not hasattr(datamodule, "prediction_dataset"):
            output = output.with_suffix(".pt")
            torch.save(trainer.predict(model, None, datamodule, ckpt_path=cfg.ckpt_path), output)
            return output, {}
        if output.suffix not in (".csv", ".parquet"):
            raise ConfigError(f"output={output} must end in .csv or .parquet")
        rows = predict_items(cfg, objects)
        if output.suffix == ".csv":
            write_csv(output, rows)
        else:
            import pandas  # seconds, and an extra

            pandas.DataFrame(rows).to_parquet(output)
        return output, {row["name"]: row["error"] for row in rows if row["error"]}


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
                predictions = prediction_rows(model(batch).float().cpu(), datamodule)
                for row, prediction in zip(readable, predictions, strict=True):
                    row.update(prediction)
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
        row = {"prediction": classes[best]}
        row.update(zip(names, probabilities.tolist(), strict=True))
        rows.append(row)
    return rows
