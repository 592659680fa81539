"""Pictures in folders and CSV files: found, split, checked."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from src.data.image_folder_datamodule import ImageFolderDataModule

COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with twenty pictures of each colour, of every shape."""
    for name, colour in COLOURS.items():
        class_folder = tmp_path / "pictures" / name
        class_folder.mkdir(parents=True)
        (class_folder / "Thumbs.db").touch()
        for i in range(20):
            suffix = "JPG" if i % 2 else "png"
            path = class_folder / f"{i}.{suffix}"
            Image.new("RGB", (10 + i, 30 - i), colour).save(path)
    return tmp_path / "pictures"


def set_up(path: Path, **settings: object) -> ImageFolderDataModule:
    """Return a datamodule of 8x8 images after `setup`."""
    datamodule = ImageFolderDataModule(str(path), image_size=8, num_workers=0, **settings)
    datamodule.setup()
    return datamodule


def sizes(datamodule: ImageFolderDataModule) -> list[int]:
    """Return the lengths of the training, validation and test sets."""
    datasets = (datamodule.data_train, datamodule.data_val, datamodule.data_test)
    return [len(dataset) for dataset in datasets]


def test_classes_are_known_before_setup(folder: Path) -> None:
    datamodule = ImageFolderDataModule(str(folder))
    assert datamodule.class_names == list(COLOURS)
    assert datamodule.num_classes == 3
    restored = ImageFolderDataModule("missing")
    restored.load_state_dict(datamodule.state_dict())
    assert restored.class_names == list(COLOURS)
    with pytest.raises(ValueError, match=r"missing does not exist: set data\.path"):
        _ = ImageFolderDataModule("missing").num_classes


def test_a_file_stays_in_its_part_when_another_is_removed(folder: Path) -> None:
    before = set_up(folder)
    assert sizes(before) == [38, 12, 10]
    images, labels = next(iter(before.val_dataloader()))
    assert images.shape == (12, 3, 8, 8)
    brightest = images.float().mean(dim=(2, 3)).argmax(dim=1)
    assert torch.equal(brightest, 2 - labels)  # blue, green, red
    removed, _ = before.data_train.files.pop()
    removed.unlink()
    after = set_up(folder)
    assert after.data_train.files == before.data_train.files
    assert after.data_test.files == before.data_test.files


def test_a_csv_file_lists_files_and_classes(folder: Path) -> None:
    rows = [f"{name}/{i}.png,{name}" for name in COLOURS for i in range(0, 20, 2)]
    (folder / "list.csv").write_text("\n".join(["image,colour", *rows]))
    with pytest.raises(ValueError, match=r"no column file or label.*data\.file_column"):
        set_up(folder / "list.csv")
    columns = {"file_column": "image", "label_column": "colour"}
    datamodule = set_up(folder / "list.csv", **columns)
    assert datamodule.class_names == list(COLOURS)
    assert sum(sizes(datamodule)) == 30
