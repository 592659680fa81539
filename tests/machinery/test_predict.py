"""Predictions from a checkpoint alone: tables, unreadable inputs, modules with own loaders."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from src.runtime.inference import predict_to_file
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
        self.as_dict, self.class_names, self.mean = as_dict, class_names, 0.0

    def prediction_dataset(self, path: str) -> Lines:
        assert self.mean, "the state of the checkpoint comes first"
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

    def forward(self, inputs: Any) -> Tensor:
        x = inputs["x"] if isinstance(inputs, dict) else inputs
        assert not self.training
        return self.net(self.dropout(x))


def run_config(tmp_path: Path, **keys: Any) -> DictConfig:
    """Return what `predict.yaml` and a checkpoint give, with a run folder that is not used yet."""
    number = len(list(tmp_path.glob("run*")))
    defaults = {
        "task_name": "predict",
        "ckpt_path": str(tmp_path / "model.ckpt"),
        "output": None,
        "batch_size": 2,
        "trainer": {"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu"},
        "callbacks": None,
        "logger": None,
        "paths": {"log_dir": str(tmp_path), "output_dir": str(tmp_path / f"run{number}")},
    }
    return OmegaConf.create(defaults | keys)


def predict(
    tmp_path: Path,
    lines: str,
    data: str = "Data",
    model: str = "Model",
    class_names: tuple[str, ...] = (),
    as_dict: bool = False,
    outputs: int = 2,
    **keys: Any,
) -> tuple[Path, dict[str, str]]:
    """Write a checkpoint as Lightning does, and predict `lines` with it."""
    weights = {"net.weight": torch.tensor([[1.0], [-1.0]])[:outputs]}
    state = {"state_dict": weights, data: {"mean": 10.0}, "pytorch-lightning_version": "2.6.0"}
    torch.save(state, tmp_path / "model.ckpt")
    (tmp_path / "lines.txt").write_text(lines)
    datamodule = {"_target_": f"{__name__}.{data}", "as_dict": as_dict, "class_names": class_names}
    cfg = run_config(
        tmp_path,
        data=datamodule,
        model={"_target_": f"{__name__}.{model}", "outputs": outputs},
        input=str(tmp_path / "lines.txt"),
        **keys,
    )
    return predict_to_file(cfg)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("as_dict", [False, True])
def test_classes_and_probabilities(tmp_path: Path, as_dict: bool) -> None:
    lines, names = "11\n9\nbroken\n10.5\n13\n", ("high", "low")
    output, errors = predict(tmp_path, lines, as_dict=as_dict, class_names=names)
    assert output == tmp_path / "run0" / "predictions.csv"
    rows = read_csv(output)
    assert list(rows[0]) == ["name", "prediction", "error", "p_high", "p_low"]
    assert [row["name"] for row in rows] == [f"line {number}" for number in range(1, 6)]
    assert [row["prediction"] for row in rows] == ["high", "low", "", "high", "high"]
    read = [float(row["p_high"]) for row in rows if row["p_high"]]
    assert read == pytest.approx([0.880797, 0.119203, 0.731059, 0.997527], abs=1e-6)
    assert "could not convert string to float" in rows[2]["error"]
    assert errors == {"line 3": rows[2]["error"]}
    assert not any(row["error"] for row in rows if row["name"] != "line 3")


def test_numbers_in_their_unit(tmp_path: Path) -> None:
    output, errors = predict(tmp_path, "11\n9.25\n", data="NumberData", outputs=1)
    assert read_csv(output) == [
        {"name": "line 1", "prediction": "1000.0", "error": ""},
        {"name": "line 2", "prediction": "-750.0", "error": ""},
    ]
    assert errors == {}


def test_several_numbers_for_an_input(tmp_path: Path) -> None:
    output, _ = predict(tmp_path, "11\n")
    assert read_csv(output)[0]["prediction"] == "[1.0, -1.0]"


def test_parquet(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    output = tmp_path / "folder" / "predictions.parquet"
    predict(tmp_path, "11\nbroken\n", class_names=("high", "low"), output=str(output))
    table = pandas.read_parquet(output)
    assert table["prediction"][0] == "high"
    assert table["prediction"].isna().tolist() == [False, True]
    assert table["p_high"][0] == pytest.approx(0.880797)
    assert table["error"].notna().tolist() == [False, True]


def test_nothing_can_be_read(tmp_path: Path) -> None:
    output, errors = predict(tmp_path, "a\nb\nc\n")
    assert len(errors) == 3
    assert [row["prediction"] for row in read_csv(output)] == ["", "", ""]


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds nothing to predict"):
        predict(tmp_path, "")
    with pytest.raises(ConfigError, match=r"must end in \.csv or \.parquet"):
        predict(tmp_path, "1\n", output="predictions.xlsx")
    with pytest.raises(ConfigError, match=r"outputs \[1, 2\] are no logit for each class_name"):
        predict(tmp_path, "1\n", class_names=("a", "b", "c"))
    node = {"_target_": f"{__name__}.Model"}
    with pytest.raises(MisconfigurationException, match="predict_dataloader"):
        predict_to_file(run_config(tmp_path, data=None, model=node))


class OwnLoaders(Model):
    def predict_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.tensor([[1.0], [2.0], [3.0]]), batch_size=2)

    def predict_step(self, batch: Tensor, batch_idx: int) -> dict[str, Tensor]:
        return {"score": self(batch)[:, 0]}


def test_a_module_with_its_own_predict_step(tmp_path: Path) -> None:
    model = OwnLoaders(outputs=1)
    torch.nn.init.ones_(model.net.weight)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    node = {"_target_": f"{__name__}.OwnLoaders", "outputs": 1}
    cfg = run_config(tmp_path, data=None, model=node, input="???")
    output, errors = predict_to_file(cfg)
    assert (output, errors) == (tmp_path / "run0" / "predictions.pt", {})
    batches = torch.load(output, weights_only=True)
    assert [batch["score"].tolist() for batch in batches] == [[1.0, 2.0], [3.0]]


def test_the_command_from_training_to_predictions(
    tmp_path: Path, command: Any, compose_train: Any
) -> None:
    """Pictures that the digits' datamodule prepares; one of them is none."""
    image = pytest.importorskip("PIL.Image")
    from src.train import train

    _, objects = train(compose_train("test=false"))
    objects["trainer"].save_checkpoint(tmp_path / "model.ckpt")
    checkpoint = f"ckpt_path={tmp_path / 'model.ckpt'}"
    folder = tmp_path / "pictures"
    folder.mkdir()
    image.new("L", (28, 28)).save(folder / "a.png")
    (folder / "b.png").write_text("broken")
    output = tmp_path / "predictions.csv"
    answer = command(checkpoint, f"input={folder}", f"output={output}", verb="predict")
    assert answer.code == 1
    assert str(output) in answer.out
    assert "Inputs that cannot be read: 1, such as" in answer.err
    assert [bool(row["prediction"]) for row in read_csv(output)] == [True, False]
    (folder / "b.png").unlink()
    assert command(checkpoint, f"input={folder}", verb="predict").code == 0
    missing = command(checkpoint, verb="predict")
    assert missing.code == 1
    assert "input" in missing.err
