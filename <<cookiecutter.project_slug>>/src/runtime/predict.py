"""Predict what a file or folder holds, with the model and the preparation of a checkpoint."""

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import move_data_to_device
from lightning.pytorch.utilities.model_helpers import is_overridden
from omegaconf import DictConfig
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from src.runtime.build import Objects
from src.runtime.checkpoint_config import config_from_checkpoint
from src.runtime.checkpoints import read_checkpoint
from src.runtime.progress import can_show_bar
from src.runtime.project import ConfigError
from src.runtime.run import open_run

DECIMALS = 6


class ReadableBatches(Dataset[Any]):
    """Batches of a dataset's items, without those that cannot be read.

    Args:
        dataset: map-style; raises ValueError or OSError for an item that cannot be read.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, index: Tensor) -> tuple[list[int], Any, dict[int, str]]:
        """Return the indices of the items that were read, their batch, and errors by index."""
        items, errors = {}, {}
        for i in index.tolist():
            try:
                items[i] = self.dataset[i]
            except (ValueError, OSError) as error:
                errors[i] = str(error).partition("\n")[0] or type(error).__name__
        return list(items), default_collate(list(items.values())) if items else None, errors


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
        datamodule, model = objects["datamodule"], objects["model"]
        if hasattr(datamodule, "prediction_dataset"):
            output = _output_file(cfg, ".csv", ".parquet")
            table = _predict_table(cfg, objects)
            _write_table(output, table)
            return output, {row["name"]: row["error"] for row in table if row["error"]}
        if not any(is_overridden("predict_dataloader", part) for part in (datamodule, model)):
            raise ConfigError(
                f"{type(datamodule or model).__name__} has nothing to predict: give it a method "
                "prediction_dataset(path) that returns a dataset, or a predict_dataloader()"
            )
        output = _output_file(cfg, ".pt")
        batches = objects["trainer"].predict(model, datamodule=datamodule, ckpt_path=cfg.ckpt_path)
        torch.save(batches, output)
        return output, {}


def restore(model: LightningModule, datamodule: Any, ckpt_path: str | Path) -> None:
    """Load the weights of a checkpoint, and what its datamodule has learned from the data.

    Raises:
        ConfigError: if the checkpoint cannot be read.
    """
    checkpoint = read_checkpoint(ckpt_path)
    if not checkpoint["state_dict"].keys() <= model.state_dict().keys():
        model.configure_model()  # some modules build their layers there
    model.on_load_checkpoint(checkpoint)
    model.load_state_dict(checkpoint["state_dict"], strict=model.strict_loading)
    model.eval()
    if state := checkpoint.get(type(datamodule).__qualname__):  # where Lightning stores it
        datamodule.load_state_dict(state)


def prediction_columns(outputs: Tensor, datamodule: Any) -> dict[str, list[Any]]:
    """Return the columns of a table of predictions: class and probabilities, or numbers.

    Args:
        outputs: of the model: logits `(N, K)` of the K names in `datamodule.class_names`; where
            there are none, numbers `(N, ...)` for `datamodule.to_target_unit`.
        datamodule: the one that the model was trained with.

    Raises:
        ConfigError: if there are not as many logits as classes.
    """
    outputs = outputs.double()
    classes = list(getattr(datamodule, "class_names", ()))
    if not classes:
        if hasattr(datamodule, "to_target_unit"):
            outputs = datamodule.to_target_unit(outputs)
        numbers = outputs.reshape(len(outputs), -1).squeeze(1)
        return {"prediction": numbers.round(decimals=DECIMALS).tolist()}
    if outputs.shape[1:] != (len(classes),):
        raise ConfigError(
            f"The model returns {list(outputs.shape[1:])} numbers for an input, but its datamodule "
            f"has {len(classes)} class_names: it should return a logit for each"
        )
    columns = {"prediction": [classes[i] for i in outputs.argmax(dim=1).tolist()]}
    probabilities = outputs.softmax(dim=1).round(decimals=DECIMALS)
    for name, column in zip(classes, probabilities.T.tolist(), strict=True):
        columns[f"p_{name}"] = column
    return columns


def _predict_table(cfg: DictConfig, objects: Objects) -> list[dict[str, Any]]:
    datamodule: Any = objects["datamodule"]
    model, trainer = objects["model"], objects["trainer"]
    restore(model, datamodule, cfg.ckpt_path)
    dataset = datamodule.prediction_dataset(str(cfg.input))
    rows: list[dict[str, Any]] = [{"name": name} for name in dataset.names]
    if not rows:
        raise ConfigError(f"input={cfg.input} holds nothing to predict")
    batches: Any = torch.arange(len(rows)).split(cfg.batch_size)
    readable = ReadableBatches(dataset)
    loader = DataLoader(readable, None, sampler=batches, num_workers=cfg.num_workers)
    model.to(trainer.strategy.root_device)
    fields = {"name": None, "prediction": None}
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        for indices, inputs, errors in track(loader, "Predicting", disable=not can_show_bar()):
            for index, error in errors.items():
                rows[index]["error"] = error
            if indices:
                outputs = model(move_data_to_device(inputs, model.device)).cpu()
                columns = prediction_columns(outputs, datamodule)
                fields |= dict.fromkeys(columns)
                for index, *values in zip(indices, *columns.values(), strict=True):
                    rows[index] |= dict(zip(columns, values, strict=True))
    return [fields | {"error": None} | row for row in rows]


def _output_file(cfg: DictConfig, *suffixes: str) -> Path:
    output = Path(cfg.output or Path(cfg.paths.output_dir, f"predictions{suffixes[0]}"))
    if output.suffix not in suffixes:
        raise ConfigError(f"output={output} must end in {' or '.join(suffixes)}")
    if output.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ConfigError(f"output={output} needs pandas and pyarrow: pip install pandas pyarrow")
    output.parent.mkdir(parents=True, exist_ok=True)
    return output


def _write_table(output: Path, rows: list[dict[str, Any]]) -> None:
    if output.suffix == ".parquet":
        import pandas  # seconds, and an extra

        pandas.DataFrame(rows).to_parquet(output)
        return
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
