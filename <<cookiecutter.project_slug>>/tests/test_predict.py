"""Predicting: image files pass through what the test images passed through."""

import csv
from pathlib import Path

import pytest
import torch
from PIL import Image

from src.data.mnist_datamodule import MNISTDataModule
from src.predict import predict
from src.runtime.checkpoint.checkpoints import load_model
from src.runtime.verb import prediction_files
from src.train import train
from tests.conftest import SMALL, Compose


@pytest.fixture
def checkpoint(composed: Compose, tmp_path: Path) -> Path:
    """Return the checkpoint of a short training."""
    train(composed(*SMALL, "seed=0", "test=false", "data.batch_size=16"))
    return tmp_path / "checkpoints" / "last.ckpt"


def test_files_are_predicted_as_the_test_set_is(
    composed: Compose,
    tmp_path: Path,
    mnist_dir: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pyarrow")
    datamodule = MNISTDataModule(str(mnist_dir), val_size=64)
    datamodule.setup()
    test = datamodule.data_test
    assert test is not None
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    for i, pixels in enumerate(test.images[:40]):  # ty: ignore[missing-attribute]
        Image.fromarray(pixels[0].numpy()).save(photos / f"more/{i:02d}.png")
    Image.new("RGBA", (90, 40), "teal").save(photos / "wide.webp")
    (photos / "zz_broken.jpg").write_text("no image")
    (photos / "notes.txt").write_text("not asked for")
    output = tmp_path / "new" / "preds.parquet"
    overrides = (f"ckpt_path={checkpoint}", f"input={photos}", f"output={output}")
    monkeypatch.delattr(MNISTDataModule, "prepare_data")  # the training data is not needed
    monkeypatch.setattr(MNISTDataModule, "setup", None)
    paths, probabilities = predict(composed(*overrides, config_name="predict"))

    assert len(paths) == 42
    with torch.no_grad():
        expected = load_model(checkpoint)(torch.stack([test[i][0] for i in range(40)])).softmax(1)
    torch.testing.assert_close(probabilities[:40], expected, rtol=0, atol=1e-6)
    assert probabilities[40].sum().item() == pytest.approx(1)
    assert probabilities[41].isnan().all()

    from pyarrow import parquet

    rows = parquet.read_table(output).to_pylist()
    assert [row["file"] for row in rows] == [str(path) for path in paths]
    assert rows[3]["prediction"] == str(int(expected[3].argmax()))
    assert rows[3]["p_7"] == pytest.approx(expected[3, 7].item(), abs=1e-6)
    assert rows[41]["prediction"] is None
    sheet = Image.open(output.with_suffix(".png"))
    assert sheet.width > 8 * prediction_files.CELL
    assert sheet.getextrema() == ((0, 255), (0, 255), (0, 255))


def test_one_file_to_csv(composed: Compose, tmp_path: Path, checkpoint: Path) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    output = tmp_path / "preds.csv"
    overrides = (f"ckpt_path={checkpoint}", f"input={tmp_path / 'black.png'}", f"output={output}")
    predict(composed(*overrides, "sheet_images=0", config_name="predict"))
    (row,) = csv.DictReader(output.open())
    assert list(row) == ["file", "prediction", "probability", *(f"p_{i}" for i in range(10))]
    assert float(row["probability"]) == max(float(row[f"p_{i}"]) for i in range(10))
    assert not output.with_suffix(".png").exists()


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (("output=preds.xlsx", "input=."), "neither .csv nor .parquet"),
        (("input=/nowhere",), "does not exist"),
    ],
)
def test_mistakes_are_told(composed: Compose, overrides: tuple[str, ...], text: str) -> None:
    cfg = composed("ckpt_path=x.ckpt", *overrides, config_name="predict")
    with pytest.raises(ValueError, match=text):
        predict(cfg)
