"""Pictures in folders: found, split, checked, and trained on."""

import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console

from src.data import loading
from src.data.image_files import ImageFiles
from src.data.image_folder_datamodule import ImageFolderDataModule
from src.explain import explain
from src.train import train
from tests.conftest import Compose

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with twenty pictures of each colour, in every shape and format."""
    for name, colour in COLOURS.items():
        (tmp_path / "pictures" / name / "more").mkdir(parents=True)
        for i in range(20):
            image = Image.new("RGB", (10 + i, 30 - i), colour)
            image.save(tmp_path / "pictures" / name / f"{i}.{('png', 'JPG')[i % 2]}")
    return tmp_path / "pictures"


def datasets(datamodule: ImageFolderDataModule) -> list[ImageFiles]:
    """Return the training, validation and test sets."""
    found = (datamodule.data_train, datamodule.data_val, datamodule.data_test)
    return [dataset for dataset in found if isinstance(dataset, ImageFiles)]


def test_pictures_are_split_by_a_seed_of_their_own(folder: Path) -> None:
    sets = []
    for run_seed in (1, 2):
        torch.manual_seed(run_seed)
        datamodule = ImageFolderDataModule(str(folder), num_classes=3, image_size=8)
        datamodule.setup()
        sets.append([dataset.files for dataset in datasets(datamodule)])
    assert sets[0] == sets[1]
    assert [len(part) for part in sets[0]] == [42, 9, 9]
    assert len({path for part in sets[0] for path, _ in part}) == 60
    assert datamodule.class_names == ("blue", "green", "red")
    for path, label in sets[0][0]:
        assert path.is_relative_to(folder / datamodule.class_names[label])


def test_a_split_that_is_there_is_kept(folder: Path) -> None:
    (folder / "red" / "0.png").rename(folder / "red" / "more" / "0.png")
    (folder.parent / "split").mkdir()
    folder.rename(folder.parent / "split" / "train")
    test = folder.parent / "split" / "test" / "green"
    test.mkdir(parents=True)
    Image.new("L", (9, 9)).save(test / "grey.png")
    for other in ("blue", "red"):
        (test.parent / other).mkdir()
        Image.new("P", (9, 9)).save(test.parent / other / "palette.png")
    datamodule = ImageFolderDataModule(str(folder.parent / "split"), num_classes=3, image_size=8)
    datamodule.setup()
    train_set, val_set, test_set = datasets(datamodule)
    assert [len(train_set), len(val_set), len(test_set)] == [51, 9, 3]
    assert [test_set[i][0].shape for i in range(3)] == [(3, 8, 8)] * 3


def test_mistakes_are_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match=r"3 classes \(blue, green, red\).*data\.num_classes=3"):
        ImageFolderDataModule(str(folder), num_classes=10).setup()
    with pytest.raises(ValueError, match=r"is no folder: set data\.path"):
        ImageFolderDataModule(str(folder / "nowhere"), num_classes=3).setup()
    with pytest.raises(ValueError, match="give each class a folder"):
        ImageFolderDataModule(str(folder / "red" / "more"), num_classes=3).setup()
    for path in (folder / "red").glob("1*"):
        path.unlink()
    for path in (folder / "red").glob("[2-6].*"):
        path.write_text("no image")
    datamodule = ImageFolderDataModule(str(folder), num_classes=3)
    datamodule.setup()
    assert "not balanced: blue 20, green 20, red 9" not in caplog.text  # not three times
    for path in (folder / "red").glob("[2-4].*"):
        path.unlink()
    datamodule = ImageFolderDataModule(str(folder), num_classes=3)
    datamodule.setup()
    assert "not balanced: blue 20, green 20, red 6" in caplog.text
    assert "data: [0.767, 0.767, 2.556]" in caplog.text
    train_set = datasets(datamodule)[0]
    bad = next(i for i, (path, _) in enumerate(train_set.files) if path.stem in ("5", "6"))
    with pytest.raises(ValueError, match="cannot be read as an image"):
        train_set[bad]


def test_a_folder_is_trained_on(composed: Compose, folder: Path, tmp_path: Path) -> None:
    cfg = composed(
        *("data=image_folder", "model=image_classifier", f"data.path={folder}"),
        *("data.num_classes=3", "data.image_size=16", "data.batch_size=8", "model.net.width=4"),
        *("common/logger@logger=none", "trainer.max_epochs=4", "data.num_workers=0"),
        "model.optimizer.lr=0.02",
        "+model.loss.weight={_target_: torch.tensor, data: [1.0, 1.0, 2.0]}",
    )
    metrics, objects = train(cfg)
    assert metrics["test/acc"] > 0.9
    assert objects["model"].state_dict()["loss.weight"].tolist() == [1, 1, 2]
    drawn = {path.name for path in (tmp_path / "images").iterdir()}
    assert {"train_batch.png", "val_epoch_003.png"} <= drawn


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (3, 3), (64, loading.MOST_WORKERS)])
def test_files_are_decoded_by_as_many_workers_as_there_are_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    datamodule = ImageFolderDataModule("digits", 10, data_dir=str(tmp_path))
    datamodule.prepare_data()
    datamodule.setup()
    loader = datamodule.train_dataloader()
    assert loader.num_workers == workers
    assert loader.persistent_workers
    assert loader.pin_memory == torch.cuda.is_available()


def test_each_default_of_the_loaders_can_be_overridden(folder: Path) -> None:
    chosen = {"prefetch_factor": 7, "persistent_workers": False, "pin_memory": True}
    datamodule = ImageFolderDataModule(str(folder), 3, num_workers=1, loader=chosen)
    datamodule.setup()
    loader = datamodule.train_dataloader()
    assert loader.num_workers == 1
    assert loader.prefetch_factor == 7
    assert not loader.persistent_workers
    assert loader.pin_memory


def test_a_specialisation_fits_two_choices_and_is_named_as_a_source(composed: Compose) -> None:
    for data, channels in (("data=mnist", 1), ("data=digits", 1), ("data=image_folder", 3)):
        model = composed(data, "model=image_classifier", "++data.num_classes=10").model
        assert model.net.in_channels == channels
    console = Console(record=True, width=300)
    explain(["data=digits", "model=image_classifier"], console)
    rows = [line.replace("│", " ").split() for line in console.export_text().splitlines()]
    file = "configs/specialize/mnist_image_classifier.yaml"  # which that of the digits extends
    assert ["model.net.in_channels", "1", file] in rows
