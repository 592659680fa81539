"""Image files as a dataset: found by folder, opened when they are asked for."""

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}

Transform = Callable[[Image.Image], Tensor]
Labelled = tuple[Path, int]


class ImageFiles(Dataset[tuple[Tensor, int]]):
    """Labelled image files, each opened when it is asked for.

    Args:
        files: pairs of path and class.
        transform: maps an RGB image to float32 `(3, H, W)`.
    """

    def __init__(self, files: Sequence[Labelled], transform: Transform) -> None:
        self.files = files
        self.transform = transform

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return an image, float32 `(3, H, W)`, and its class.

        Raises:
            ValueError: naming the file that is no image.
        """
        path, label = self.files[index]
        try:
            with Image.open(path) as image:
                return self.transform(image.convert("RGB")), label
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(f"{path} cannot be read as an image: remove or mend it") from error


class UnlabelledImages(Dataset[Tensor]):
    """Image files to predict; one that cannot be read is NaN, so that the others are predicted.

    Args:
        paths: the files.
        transform: maps an RGB image to float32 `(C, H, W)`.
    """

    def __init__(self, paths: Sequence[Path], transform: Transform) -> None:
        self.paths = paths
        self.transform = transform

    def __len__(self) -> int:
        """Number of images."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        """Return an image, float32 `(C, H, W)`."""
        try:
            with Image.open(self.paths[index]) as image:
                return self.transform(image.convert("RGB"))
        except (UnidentifiedImageError, OSError):
            return self.transform(Image.new("RGB", (64, 64))) * float("nan")


def class_names_of(root: Path) -> tuple[str, ...]:
    """Return the names of the folders in `root`, sorted.

    Raises:
        ValueError: if there is no folder, or fewer than two in it.
    """
    if not root.is_dir():
        raise ValueError(f"{root} is no folder: set data.path to one with a folder for each class")
    names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(names) < 2:
        raise ValueError(
            f"{root} holds {len(names)} folders: give each class a folder there, "
            "as in cat/1.jpg, dog/2.jpg"
        )
    return tuple(names)


def files_of(root: Path, class_names: Sequence[str]) -> list[Labelled]:
    """Return the image files below `root/CLASS`, sorted, each with the number of its class.

    Raises:
        ValueError: naming a class without images.
    """
    found: list[Labelled] = []
    for label, name in enumerate(class_names):
        paths = sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in SUFFIXES)
        if not paths:
            raise ValueError(f"{root / name} holds no image: add some, or remove the folder")
        found += [(path, label) for path in paths]
    return found
