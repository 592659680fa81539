"""Pictures in folders, one folder per class, or listed with their classes in a CSV file."""

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset
from torchvision.transforms import v2

from src.data import labelled_files
from src.data.image_datamodule import ImageDataModule
from src.data.image_files import ImagesToPredict, read_image
from src.data.labelled_files import Labelled
from src.data.loading import default_workers

log = logging.getLogger(__name__)

SMALL = 16_000_000  # bytes of encoded images that are kept, decoded some ten times as many


class ResizeAndCrop:
    """Resize the shorter side of an image to `size` pixels, and keep the centre.

    The pixels are those of `v2.Resize` and `v2.CenterCrop`, or differ by 1 of 255 on CPUs without
    AVX2; an 8x8 image takes a third of the time.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Tensor) -> Tensor:
        """Return an image, uint8 `(3, H, W)`, as `(3, size, size)`."""
        sides = image.shape[-2:]
        height, width = (self.size * side // min(sides) for side in sides)
        if (height, width) != sides:
            # Decoders return a view of (H, W, 3): a batch is made such that it shows as one.
            batch = image.permute(1, 2, 0).unsqueeze(0).permute(0, 3, 1, 2)
            image = interpolate(batch, (height, width), mode="bilinear", antialias=True)[0]
        top = round((height - self.size) / 2)
        left = round((width - self.size) / 2)
        return image[:, top : top + self.size, left : left + self.size]


class LabelledImages(Dataset[tuple[Tensor, int]]):
    """Image files with their classes, decoded when they are asked for.

    Args:
        files: pairs of path and class number.
        transform: maps an image, uint8 `(3, H, W)`, to one of the size that the model takes.
        in_memory: keep decoded images, which saves time from the second epoch on.
    """

    def __init__(
        self,
        files: Sequence[tuple[Path, int]],
        transform: Callable[[Tensor], Tensor],
        in_memory: bool = False,
    ) -> None:
        self.files = files
        self.transform = transform
        self.in_memory = in_memory
        self.decoded: dict[int, Tensor] = {}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return an image, uint8 `(3, H, W)`, and its class.

        Raises:
            MisconfigurationException: naming the file, if it cannot be decoded. That is a mistake
                in the data, which a command reports in one line even in the middle of a run.
        """
        path, label = self.files[index]
        image = self.decoded.get(index)
        if image is None:
            try:
                image = read_image(path)
            except ValueError as error:
                raise MisconfigurationException(str(error)) from None
            if self.in_memory:
                self.decoded[index] = image
        return self.transform(image), label


class ImageFolderDataModule(ImageDataModule):
    """Classify pictures. Batches are images `(B, 3, image_size, image_size)` and int64 `(B,)`.

    The images are uint8; `normalize` makes them float32 on the device. `path` is one of

    - a folder with a folder per class, `path/CLASS/...`, which is split (see below);
    - a folder with `train/CLASS/...`, and `val/` or `test/` beside `train/`; what is missing of
      the two is taken from `train`;
    - a CSV file with a column of paths, relative to its own folder, and a column of classes.

    A file belongs to training, validation or test by a hash of `split_seed` and its path: it stays
    there when other files are added or removed.

    Args:
        path: the folder or CSV file; `digits` writes scikit-learn's handwritten digits to
            `data_dir` as PNG files.
        data_dir: folder for `digits`.
        image_size: pixels per side: the shorter side is resized to it, the centre is kept.
        mean: of the channels, for pixel values in `[0, 1]`.
        std: standard deviation of the channels, for the same.
        augmentation: applied to the decoded training images, uint8 `(3, H, W)`, before they are
            resized and cropped; None leaves them as they are.
        val_fraction: share of the images for validation, nearly.
        test_fraction: share of the images for the test, nearly.
        split_seed: seed of the split, which is not the run's seed: runs can be compared.
        file_column: of a CSV file, the column of paths.
        label_column: of a CSV file, the column of classes.
        batch_size: images per step, on each device.
        num_workers: processes that decode; None takes one per core, at most 8.
        loader: further arguments of the `DataLoader`.
        in_memory: keep decoded images in each worker; None does if the files are small, together
            less than 16 MB.
        channels_last: memory format of the batches; None: channels_last on CUDA.
        batch_augmentation: applied on the device to training batches, uint8
            `(B, 3, image_size, image_size)`, with the same random numbers for all images of one.

    Raises:
        ValueError: when classes or files are asked for, if `path` is not as described here.
    """

    in_channels = 3

    def __init__(
        self,
        path: str,
        data_dir: str = "data",
        image_size: int = 64,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        augmentation: Callable[[Tensor], Tensor] | None = None,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 42,
        file_column: str = "file",
        label_column: str = "label",
        batch_size: int = 64,
        num_workers: int | None = None,
        loader: Mapping[str, Any] | None = None,
        in_memory: bool | None = None,
        channels_last: bool | None = None,
        batch_augmentation: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(
            mean,
            std,
            channels_last,
            batch_augmentation,
            batch_size=batch_size,
            num_workers=default_workers() if num_workers is None else num_workers,
            loader=loader,
        )
        self.in_memory = in_memory
        self.is_digits = path == "digits"
        self.path = Path(data_dir, "digits_png") if self.is_digits else Path(path).expanduser()
        self.known_classes = list("0123456789") if self.is_digits else []
        self.columns = (file_column, label_column)
        self.image_size = image_size
        self.transform = self.train_transform = ResizeAndCrop(image_size)
        if augmentation:
            self.train_transform = v2.Compose([augmentation, self.transform])
        self.fractions = {"val": val_fraction, "test": test_fraction}
        self.split_seed = split_seed

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, sorted: of the checkpoint, else of the folders or the CSV file."""
        if not self.known_classes:
            self.known_classes = self.find_classes()
        return self.known_classes

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def training_root(self) -> Path:
        """Return where the training images are: in `train/`, or in the path itself."""
        folder = self.path / "train"
        return folder if folder.is_dir() else self.path

    def find_classes(self) -> list[str]:
        """Return the classes of the training images, without listing the images of a folder."""
        root = self.training_root()
        if root.is_dir():
            names = [folder.name for folder in labelled_files.class_folders(root)]
        else:
            files = self.find_files(root)
            names = sorted({name for _, name in files})
        if len(names) < 2:
            raise ValueError(
                f"{root} holds {len(names)} classes, but at least 2 are needed: "
                "put the images of each class into a folder there, as in cat/1.jpg, dog/2.jpg"
            )
        return names

    def find_files(self, root: Path) -> list[Labelled]:
        """Return the image files in a folder of classes or a CSV file, with their classes."""
        if root.is_dir():
            files = labelled_files.list_folders(root)
        elif root.is_file():
            files = labelled_files.read_csv(root, *self.columns)
        else:
            raise ValueError(f"{root} does not exist: set data.path to a folder or a CSV file")
        if not files:
            raise ValueError(f"{root} holds no images: set data.path to another folder or file")
        return files

    def prepare_data(self) -> None:
        """Write the digits as PNG files, if they are asked for."""
        if self.is_digits and not self.path.is_dir():
            labelled_files.write_digits(self.path)

    def setup(self, stage: str | None = None) -> None:
        """List and split the files once."""
        if self.data_train is not None:
            return
        root = self.training_root()
        sets = {"train": self.find_files(root)}
        for name in self.fractions:
            folder = self.path / name
            if root != self.path and folder.is_dir():
                sets[name] = self.find_files(folder)
        sets = labelled_files.without_broken_files(sets)
        fractions = {name: share for name, share in self.fractions.items() if name not in sets}
        folder = root if root.is_dir() else root.parent
        sets |= labelled_files.split_files(sets["train"], folder, fractions, self.split_seed)
        seen = {name for _, name in sets["train"]}
        if unseen := sorted(set(self.class_names).difference(seen)):
            rank_zero_only(log.warning)("No training images of the classes %s", ", ".join(unseen))
        self.data_train = self.dataset(sets["train"], self.train_transform)
        self.data_val = self.dataset(sets["val"], self.transform)
        self.data_test = self.dataset(sets["test"], self.transform)

    def dataset(
        self, files: Sequence[Labelled], transform: Callable[[Tensor], Tensor]
    ) -> LabelledImages:
        """Return a dataset of image files and their class numbers."""
        numbers = {name: number for number, name in enumerate(self.class_names)}
        unknown = sorted({name for _, name in files}.difference(numbers))
        if unknown:
            raise ValueError(
                f"{self.path} holds the classes {', '.join(unknown)}, which are not among those "
                f"of the training: {', '.join(numbers)}"
            )
        numbered = [(path, numbers[name]) for path, name in files]
        in_memory = self.in_memory
        if in_memory is None:
            totals = accumulate(path.stat().st_size for path, _ in files)
            in_memory = all(total < SMALL for total in totals)  # no more files than it takes
        return LabelledImages(numbered, transform, in_memory)

    def on_exception(self, exception: BaseException) -> None:
        """Keep the line that names a broken file, of the traceback from a worker process."""
        if isinstance(exception, MisconfigurationException):
            line = str(exception).rpartition("MisconfigurationException: ")[2]
            exception.args = (line.strip(),)

    def prediction_dataset(self, path: str) -> ImagesToPredict:
        """Return image files as the model takes them."""
        return ImagesToPredict(path, v2.Compose([self.transform, self.normalize]))

    def state_dict(self) -> dict[str, Any]:
        """Return the classes, which a prediction has no folders to take from, and `image_size`.

        An exported model carries them as `preparation`.
        """
        return {"class_names": self.class_names, "image_size": self.image_size}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the classes from a checkpoint."""
        self.known_classes = list(state_dict["class_names"])
