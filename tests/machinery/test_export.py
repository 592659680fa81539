"""Exported models compute the same for any batch size, and carry what is needed to use them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from src.runtime import inference
from src.runtime.inference import example_input_batch, export_to_file
from src.runtime.project import ConfigError


class Data(LightningDataModule):
    class_names = ("cat", "été")
    mean, std = torch.tensor([0.5]), (0.25,)

    def __init__(self, samples: int = 5) -> None:
        super().__init__()
        self.samples, self.fitted, self.is_ready = samples, 0, False

    def setup(self, stage: str) -> None:
        assert stage == "validate"
        self.is_ready = True

    def val_dataloader(self) -> list[DataLoader[Any]]:
        assert self.is_ready
        inputs = torch.randn(self.samples, 3, 6, generator=torch.Generator().manual_seed(0))
        dataset = TensorDataset(inputs, torch.zeros(self.samples))
        return [DataLoader(dataset, batch_size=4), DataLoader(dataset, batch_size=2)]

    def state_dict(self) -> dict[str, Any]:
        return {"fitted": self.fitted}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.fitted = state_dict["fitted"]


class Model(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.Flatten(), nn.Dropout(), nn.Linear(16, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TwoInputs(Model):
    def __init__(self) -> None:
        super().__init__()
        self.example_input_array = {
            "ids": torch.arange(8).reshape(2, 4),
            "mask": torch.rand(2, 4),
        }
        self.net = nn.Embedding(8, 2)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return (self.net(inputs["ids"]) * inputs["mask"].unsqueeze(-1)).mean(1)


class SeesItsFirstBatchOnly(Model):
    """Not the same function after export: the number of calls has become a constant."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.net(x) + self.calls


def run_export(tmp_path: Path, model: LightningModule, samples: int = 5, **keys: Any) -> Path:
    """Write a checkpoint as Lightning does, and export its model."""
    checkpoint = {"state_dict": model.state_dict(), "Data": {"fitted": 7}}
    torch.save(checkpoint, tmp_path / "model.ckpt")
    number = len(list(tmp_path.glob("run*")))
    defaults = {
        "task_name": "export",
        "ckpt_path": str(tmp_path / "model.ckpt"),
        "output": None,
        "tolerance": 1e-4,
        "data": {"_target_": f"{__name__}.Data", "samples": samples},
        "model": {"_target_": f"{__name__}.{type(model).__name__}"},
        "trainer": {"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu"},
        "callbacks": None,
        "logger": None,
        "paths": {"log_dir": str(tmp_path), "output_dir": str(tmp_path / f"run{number}")},
    }
    return export_to_file(OmegaConf.create(defaults | keys))


def test_onnx_is_used_without_torch(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = Model().eval()
    path = run_export(tmp_path, model, format="onnx")
    assert path == tmp_path / "run0" / "model.onnx"

    session = onnxruntime.InferenceSession(path)
    facts = session.get_modelmeta().custom_metadata_map
    facts = {name: json.loads(text) for name, text in facts.items()}
    raw = np.random.default_rng(0).random((9, 3, 6), dtype=np.float32)
    batch = ((raw - facts["mean"]) / facts["std"]).astype(np.float32)
    (logits,) = session.run(None, {session.get_inputs()[0].name: batch})
    predicted = [facts["class_names"][index] for index in logits.argmax(axis=1)]

    with torch.no_grad():
        expected = model(torch.from_numpy((raw - 0.5) / 0.25))
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert predicted == [Data.class_names[index] for index in expected.argmax(1).tolist()]
    assert facts["preparation"] == {"fitted": 7}


def test_torch_export_takes_any_batch_size(tmp_path: Path) -> None:
    model = Model().eval()
    output = tmp_path / "folder" / "net.pt2"
    assert run_export(tmp_path, model, 1, format="torch_export", output=str(output)) == output
    extra = {"class_names": ""}
    program = torch.export.load(output, extra_files=extra).module()
    for size in (1, 5):
        batch = torch.randn(size, 3, 6)
        torch.testing.assert_close(program(batch), model(batch))
    assert json.loads(extra["class_names"]) == ["cat", "été"]


@pytest.mark.parametrize("format", ["onnx", "torch_export"])
def test_a_dict_of_inputs(tmp_path: Path, format: str) -> None:
    if format == "onnx":
        pytest.importorskip("onnxscript")
    model = TwoInputs()
    path = run_export(tmp_path, model, data=None, format=format)
    if format == "onnx":
        session = pytest.importorskip("onnxruntime").InferenceSession(path)
        assert [node.name for node in session.get_inputs()] == ["ids", "mask"]
        assert session.get_inputs()[0].shape[0] != 2


def test_mlflow(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    model = Model().eval()
    path = run_export(tmp_path, model, format="mlflow")
    assert path == tmp_path / "run0" / "model"
    loaded = mlflow.pyfunc.load_model(str(path))
    batch = torch.randn(3, 3, 6)
    np.testing.assert_allclose(loaded.predict(batch.numpy()), model(batch).detach(), atol=1e-5)
    assert loaded.metadata.get_input_schema() is not None
    assert "torch==" in (path / "requirements.txt").read_text()
    with pytest.raises(OSError, match="not empty"):
        run_export(tmp_path, model, format="mlflow", output=str(path))
    with pytest.raises(ConfigError, match="one tensor"):
        run_export(
            tmp_path, TwoInputs(), data=None, format="mlflow", output=str(tmp_path / "other")
        )


def test_a_wrong_export_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"differs from the original: \S+ > tolerance"):
        run_export(tmp_path, SeesItsFirstBatchOnly(), format="torch_export")
    assert [path.name for path in tmp_path.rglob("*") if path.suffix == ".pt2"] == []


def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"choose onnx, torch_export, mlflow"):
        run_export(tmp_path, Model(), format="tflite")
    monkeypatch.setattr(inference, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=r"needs onnxruntime"):
        run_export(tmp_path, Model(), format="onnx")


def test_inputs_that_are_no_tensors_need_an_example() -> None:
    class Texts(Data):
        def val_dataloader(self) -> Any:
            return [["a text"], ["another"]]

    with pytest.raises(ConfigError, match="example_input_array"):
        example_input_batch(Model(), Texts())
