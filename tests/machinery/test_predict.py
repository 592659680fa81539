"""Predictions from a checkpoint alone: tables, unreadable inputs, modules with own loaders."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from src.runtime.predict import write_predictions
from src.runtime.project import ConfigError


class Lines(Dataset[Any]):
    """A number a line; the input of a line is the number minus the training mean."""

    def __init__(self, path: str, mean: float, as_dict: bool) -> None:
        self.lines = Path(path).read_text().splitlines()
        self.names = [f"line {number}" for number in range(1, len(self.lines) + 1)]
        self.mean, self.as_dict = mean, as_dict

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, index: int) -> Any:
        value = torch.tensor([float(self.lines[index]) - self.mean])
        return {"x": value} if self.as_dict else value


class Data(LightningDataModule):
    def __init__(self, as_dict: bool = False, class_names: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.as_dict, self.class_names, self.mean = as_dict, class_names, None

    def prediction_dataset(self, path: str) -> Lines:
        assert self.mean is not None, "the state of the checkpoint comes first"
        return Lines(path, self.mean, self.as_dict)

    def state_dict(self) -> dict[str, Any]:
        return {"mean": 10.0}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.mean = state_dict["mean"]


class NumberData(Data):
    def to_target_unit(self, values: Tensor) -> Tensor:
        return values * 1000


class Model(LightningModule):
    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.net = nn.Linear(1, outputs, bias=False)
        self.dropout = nn.Dropout(0.9)
        self.seen: list[int] = []

    def forward(self, inputs: Any) -> Tensor:
        x = inputs["x"] if isinstance(inputs, dict) else inputs
        self.seen.append(len(x))
        return self.net(self.dropout(x))


def write_checkpoint(path: Path, data: LightningDataModule, model: LightningModule) -> None:
    """Write what Lightning writes, as far as predictions need it."""
    state = {type(data).__qualname__: data.state_dict()}
    torch.save({"state_dict": model.state_dict(), **state}, path)


def predict(
    tmp_path: Path, data: Any, model: LightningModule, lines: str, **settings: Any
) -> tuple[Path, dict[str, str]]:
    """Store the weights of `model`, and predict with those that a new one reads."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.tensor([[1.0], [-1.0]])[: len(parameter)])
    write_checkpoint(tmp_path / "model.ckpt", data, model)
    (tmp_path / "lines.txt").write_text(lines)
    cfg: DictConfig = OmegaConf.create(
        {
            "ckpt_path": str(tmp_path / "model.ckpt"),
            "input": str(tmp_path / "lines.txt"),
            "output": None,
            "batch_size": 2,
            "num_workers": 0,
            "paths": {"output_dir": str(tmp_path / "run")},
        }
        | settings
    )
    torch.nn.init.zeros_(next(model.parameters()))
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    objects: Any = {"datamodule": data, "model": model, "trainer": trainer}
    return write_predictions(cfg, objects)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("as_dict", [False, True])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_classes_and_probabilities(tmp_path: Path, as_dict: bool, num_workers: int) -> None:
    data, model = Data(as_dict, ("high", "low")), Model()
    settings = {"num_workers": num_workers}
    output, errors = predict(tmp_path, data, model, "11\n9\nbroken\n10.5\n13\n", **settings)
    assert output == tmp_path / "run" / "predictions.csv"
    rows = read_csv(output)
    assert list(rows[0]) == ["name", "prediction", "p_high", "p_low", "error"]
    assert [row["name"] for row in rows] == [f"line {number}" for number in range(1, 6)]
    assert [row["prediction"] for row in rows] == ["high", "low", "", "high", "high"]
    assert [row["p_high"] for row in rows] == ["0.880797", "0.119203", "", "0.731059", "0.997527"]
    assert "could not convert string to float" in rows[2]["error"]
    assert errors == {"line 3": rows[2]["error"]}
    assert model.seen == [2, 1, 1]
    assert not any(row["error"] for row in rows if row["name"] != "line 3")


def test_numbers_in_their_unit(tmp_path: Path) -> None:
    output, errors = predict(tmp_path, NumberData(), Model(outputs=1), "11\n9.25\n")
    assert read_csv(output) == [
        {"name": "line 1", "prediction": "1000.0", "error": ""},
        {"name": "line 2", "prediction": "-750.0", "error": ""},
    ]
    assert errors == {}


def test_several_numbers_for_an_input(tmp_path: Path) -> None:
    output, _ = predict(tmp_path, Data(), Model(), "11\n")
    assert read_csv(output)[0]["prediction"] == "[1.0, -1.0]"


def test_parquet(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    output = tmp_path / "folder" / "predictions.parquet"
    data = Data(class_names=("high", "low"))
    predict(tmp_path, data, Model(), "11\nbroken\n", output=str(output))
    table = pandas.read_parquet(output)
    assert table["prediction"][0] == "high"
    assert table["prediction"].isna().tolist() == [False, True]
    assert table["p_high"][0] == pytest.approx(0.880797)
    assert table["error"].notna().tolist() == [False, True]


def test_nothing_can_be_read(tmp_path: Path) -> None:
    output, errors = predict(tmp_path, Data(), Model(), "a\nb\nc\n")
    assert len(errors) == 3
    assert [row["prediction"] for row in read_csv(output)] == ["", "", ""]


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds nothing to predict"):
        predict(tmp_path, Data(), Model(), "")
    with pytest.raises(ConfigError, match=r"must end in \.csv or \.parquet"):
        predict(tmp_path, Data(), Model(), "1\n", output="predictions.xlsx")
    with pytest.raises(ConfigError, match=r"\[2\] numbers for an input.* 3 class_names"):
        predict(tmp_path, Data(class_names=("a", "b", "c")), Model(), "1\n")
    with pytest.raises(ConfigError, match=r"prediction_dataset\(path\)"):
        predict(tmp_path, LightningDataModule(), Model(), "1\n")


class OwnLoaders(Model):
    def predict_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.tensor([[1.0], [2.0], [3.0]]), batch_size=2)

    def predict_step(self, batch: Tensor, batch_idx: int) -> dict[str, Any]:
        return {"score": self(batch)[:, 0], "source": Path("a")}


def test_a_module_with_its_own_predict_step(tmp_path: Path) -> None:
    model = OwnLoaders(outputs=1)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    torch.nn.init.ones_(model.net.weight)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    cfg = OmegaConf.create(
        {
            "ckpt_path": str(tmp_path / "own.ckpt"),
            "input": "???",
            "output": None,
            "paths": {"output_dir": str(tmp_path)},
        }
    )
    torch.nn.init.zeros_(model.net.weight)
    objects: Any = {"datamodule": None, "model": model, "trainer": trainer}
    output, errors = write_predictions(cfg, objects)
    assert (output.name, errors) == ("predictions.pt", {})
    batches = torch.load(output, weights_only=True)
    assert [batch["score"].tolist() for batch in batches] == [[1.0, 2.0], [3.0]]
    assert batches[0]["source"] == "a"
