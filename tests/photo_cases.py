"""Tests of pictures that run inside a bake: tests/test_photos.py copies them there."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models
from torchvision.transforms import v2

from src.callbacks import pictures
from src.data.image_files import ImagesToPredict, find_images, read_image
from src.data.image_folder_datamodule import ImageFolderDataModule, ResizeAndCrop
from src.data.labelled_files import split_files
from src.models.components.class_loss import ClassLoss
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
    without = resnet18(3, 5, "nowhere.pth")
    with pytest.raises(ValueError, match=r"holds no weights \(FileNotFoundError\): download"):
        without(grey.expand(-1, 3, -1, -1))
    nn.Sequential(without).load_state_dict(nn.Sequential(net).state_dict())  # of a checkpoint
    assert without.eval()(grey.expand(-1, 3, -1, -1)).equal(net(grey.expand(-1, 3, -1, -1)))


def test_orientation_is_taken_into_account(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (6, 4), "orange").save(path, exif=exif)
    assert read_image(path).shape == (3, 6, 4)


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    path = tmp_path / "transparent.png"
    Image.new("RGBA", (6, 4), (0, 0, 0, 0)).save(path)
    assert read_image(path).min() == 255


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_scaled_to_8(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"grey16.{suffix}"
    pixels = np.full((4, 6), 100 * 257, dtype=np.uint16)
    Image.fromarray(pixels).save(path)
    assert read_image(path).unique().tolist() == [100]


def test_each_letter_is_drawn_and_no_name_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    shapes = {bytes(pictures.load_font(letter).getmask(letter)) for letter in "ÄöñŁжλß"}
    assert len(shapes) == 7
    names = ["golden_retriever_dog", "Straßenbahnhaltestel", "W" * 60, "\U00016800", "🐱"]
    drawn = pictures.names_of(range(5), SimpleNamespace(class_names=names))
    assert drawn == [*names[:3], "3", "🐱"]  # no font here has Bamum letters
    assert caplog.messages == [pictures.NO_FONT]
    for name in drawn:
        assert "".join(pictures.wrap(name, 124)) == name
    assert pictures.wrap(names[0], 124) == [names[0]]
    assert len(pictures.wrap("cat\nis a dog", 124)) == 2


def test_the_net_has_an_output_for_each_class() -> None:
    labels = torch.tensor([0, 1])
    assert ClassLoss(3, label_smoothing=0.1)(torch.zeros(2, 3), labels) > 0
    for outputs in (2, 20):
        with pytest.raises(ValueError, match=f"net has {outputs} outputs, but the data have 3 cl"):
            ClassLoss(3)(torch.zeros(2, outputs), labels)


def test_files_to_predict_are_found_and_broken_ones_named(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "b.PNG")
    (tmp_path / "a.jpg").write_text("no image")
    (tmp_path / "Thumbs.db").touch()
    (tmp_path / ".hidden.png").touch()
    images = ImagesToPredict(str(tmp_path), nn.Identity())
    assert [Path(name).name for name in images.names] == ["a.jpg", "b.PNG"]
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read"):
        images[0]
    assert images[1].shape == (3, 4, 6)
    with pytest.raises(ValueError, match="neither an image file nor a folder"):
        ImagesToPredict(f"{tmp_path}/missing", nn.Identity())


def write_pictures(folder: Path) -> None:
    """Write twenty pictures of each of two classes."""
    for name in ("ä", "b"):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            Image.new("RGB", (9, 9)).save(folder / f"{name}/{i}.png")


def sizes(path: Path) -> list[int]:
    """Return the lengths of the training, validation and test sets."""
    data = ImageFolderDataModule(str(path), image_size=8, num_workers=0)
    data.setup()
    return [len(part) for part in (data.data_train, data.data_val, data.data_test)]


def test_folders_of_a_split_are_kept(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train")
    test = tmp_path / "test/b"
    test.mkdir(parents=True)
    Image.new("L", (9, 9)).save(test / "grey.png")
    train, val, kept = sizes(tmp_path)
    assert (train + val, kept) == (40, 1)
    test.rename(test.parent / "yellow")
    with pytest.raises(ValueError, match="classes yellow, which are not among"):
        sizes(tmp_path)


def test_a_folder_without_images_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_pictures(tmp_path)
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "empty").mkdir()
    assert sum(sizes(tmp_path)) == 40
    assert caplog.messages == ["No training images of the classes empty"]


@pytest.mark.parametrize("separator", list(",;\t|"))
def test_a_csv_file_has_any_separator(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, separator: str
) -> None:
    write_pictures(tmp_path)
    rows = [f"{name}/{i}.png{separator}{name}" for name in ("ä", "b") for i in range(20)]
    text = "\r\n".join([f"file{separator}label", *rows, f"b/1.png{separator}", "b/2.png", ""])
    (tmp_path / "list.csv").write_text(text, "utf-8-sig")
    assert sum(sizes(tmp_path / "list.csv")) == 40
    assert set(caplog.messages) == {f"2 rows of {tmp_path}/list.csv have no file or no class"}
    (tmp_path / "list.csv").write_text(text, "cp1252")
    with pytest.raises(ValueError, match=r"list\.csv is not UTF-8: save it as"):
        sizes(tmp_path / "list.csv")


ORANGE = (200, 100, 50)
MODES = {"jpg": "RGB L CMYK", "JPEG": "RGB", "png": "RGB L P RGBA 1", "webp": "RGB RGBA"}
MODES |= {"gif": "P", "bmp": "RGB", "tiff": "RGB CMYK"}
FORMATS = [(suffix, mode) for suffix, modes in MODES.items() for mode in modes.split()]


@pytest.mark.parametrize(("suffix", "mode"), FORMATS)
def test_each_format_is_read_as_rgb(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tmp_path / f"picture [1].{suffix}"
    picture = Image.new("RGB", (6, 4), ORANGE)
    picture.convert(mode).save(path)
    with Image.open(path) as file:
        pixels = np.array(file.convert("RGB"))
    expected = torch.from_numpy(pixels).permute(2, 0, 1)
    found = read_image(path)
    assert found.dtype == torch.uint8
    difference = found.int() - expected.int()
    assert difference.abs().max() <= 2
