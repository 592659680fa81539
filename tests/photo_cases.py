"""Tests of pictures that run inside a bake: tests/test_photos.py copies them there."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision import models
from torchvision.transforms import v2

from src.callbacks import pictures
from src.data.image_files import find_images
from src.data.image_folder_datamodule import ImageFolderDataModule, ResizeAndCrop
from src.data.labelled_files import split_files
from src.models.components.resnet import resnet18

ROOT = Path("photos")


@pytest.mark.parametrize("number", [2, 3, 5, 1000])
def test_no_part_is_empty_and_each_is_near_its_share(number: int) -> None:
    files = [(ROOT / f"a/{i}.png", "a") for i in range(number)]
    sizes = {
        name: len(part)
        for name, part in split_files(files, ROOT, {"val": 0.15, "test": 0.15}, 42).items()
    }
    assert sum(sizes.values()) == number
    assert sizes["train"]
    assert sizes["val"]
    assert sizes["test"] or number == 2
    if number == 1000:
        assert sizes["val"] == pytest.approx(150, abs=40)
        assert sizes["test"] == pytest.approx(150, abs=40)


def test_the_split_is_that_of_the_names_below_the_folder(tmp_path: Path) -> None:
    fractions = {"val": 0.3, "test": 0.2}

    def names(root: Path, fractions: dict[str, float]) -> dict[str, set[str]]:
        files = [(root / f"{i}.png", "a") for i in range(100)]
        parts = split_files(files, root, fractions, 42)
        return {name: {path.name for path, _ in part} for name, part in parts.items()}

    expected = names(ROOT, fractions)
    assert names(tmp_path, fractions) == expected
    del fractions["val"]  # there is a folder of its own
    assert names(ROOT, fractions)["test"] == expected["test"]
    assert split_files([(ROOT / "1.png", "a")], ROOT, {"val": 0, "test": 0}, 0)["val"] == []


def test_hidden_folders_are_ignored(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/.thumbnails/2.png", ".git/3.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert find_images(tmp_path) == [tmp_path / "cat/1.png"]


def test_folders_of_a_split_are_kept(tmp_path: Path) -> None:
    for name in (*(f"train/{i % 2}/{i}.png" for i in range(40)), "test/1/grey.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9)).save(tmp_path / name)
    datamodule = ImageFolderDataModule(str(tmp_path), num_workers=0)
    datamodule.setup()
    assert len(datamodule.data_train) + len(datamodule.data_val) == 40
    assert len(datamodule.data_val) > 1
    assert len(datamodule.data_test) == 1
    (tmp_path / "test/1").rename(tmp_path / "test/yellow")
    with pytest.raises(ValueError, match="classes yellow, which are not among"):
        ImageFolderDataModule(str(tmp_path), num_workers=0).setup()


def test_augmentation_comes_before_the_crop(tmp_path: Path) -> None:
    for i in range(40):
        (tmp_path / str(i % 2)).mkdir(exist_ok=True)
        Image.new("RGB", (10 + i, 30)).save(tmp_path / f"{i % 2}/{i}.png")
    rotation = v2.RandomRotation((45, 45), expand=True)
    datamodule = ImageFolderDataModule(
        str(tmp_path), image_size=8, num_workers=0, augmentation=rotation
    )
    datamodule.setup()
    images, _ = next(iter(datamodule.train_dataloader()))
    assert images.shape[1:] == (3, 8, 8)
    assert images.dtype == torch.uint8
    assert datamodule.on_after_batch_transfer((images, None), 0)[0].dtype == torch.float32


@pytest.mark.parametrize("size", [2, 16, 65])
def test_pictures_are_resized_and_cropped_as_by_torchvision(size: int) -> None:
    usual = v2.Compose([v2.Resize(size), v2.CenterCrop(size)])
    for height, width in ((8, 8), (size, size), (size, 3 * size + 1), (37, 90), (91, 36), (1, 5)):
        decoded = torch.randint(256, (height, width, 3), dtype=torch.uint8).permute(2, 0, 1)
        for image in (decoded, decoded.contiguous()):
            found = ResizeAndCrop(size)(image)
            assert found.dtype == torch.uint8
            assert torch.allclose(found.int(), usual(image).int(), rtol=0, atol=1)


def test_pretrained_weights_are_taken_over(tmp_path: Path) -> None:
    weights = models.resnet18().state_dict()
    path = str(tmp_path / "weights.pth")
    torch.save(weights, path)
    net = resnet18(3, 5, path).eval()
    assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 5)
    taken = net.state_dict()
    for name in weights.keys() - {"fc.weight", "fc.bias"}:
        assert torch.equal(taken[name], weights[name])
    # A grey picture gives what it gave as colour.
    grey = torch.rand(1, 1, 32, 32)
    of_grey = resnet18(1, 5, path).conv1(grey)
    assert torch.allclose(of_grey, net.conv1(grey.expand(-1, 3, -1, -1)), atol=1e-5)
    assert resnet18(1, 5, False).load_state_dict(resnet18(1, 5, path).state_dict())
    with pytest.raises(ValueError, match=r"holds no weights \(FileNotFoundError\): download"):
        resnet18(3, 5, "nowhere.pth")


def test_letters_are_drawn_and_names_of_twenty_letters_fit() -> None:
    box = pictures.load_font(14).getmask("\uffff").getbbox()
    shapes = {bytes(pictures.load_font(14).getmask(letter)) for letter in "ÄöñŁжλ"}
    assert len(shapes) == 6
    assert box
    for name in ("golden_retriever_dog", "Straßenbahnhaltestel"):
        assert pictures.fit_text(name, pictures.CELL - pictures.GAP)[0] == name
    cut, _ = pictures.fit_text("W" * 60, pictures.CELL - pictures.GAP)
    assert cut.endswith("...")
