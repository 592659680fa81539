"""Pictures in folders, one folder a class: decoded, cut to size and normalised by workers."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from src.data.image_files import ImageFiles, UnlabelledImages, class_names_of, files_of
from src.data.loading import default_workers
from src.data.split_datamodule import SplitDataModule

log = logging.getLogger(__name__)

IMBALANCE = 3  # how many times larger than the smallest a class may be without a warning


class ImageFolderDataModule(SplitDataModule):
    """Classify pictures by the name of the folder that they lie in.

    Either `path/CLASS/...`, which is split, or `path/train/CLASS/...` with `val` or `test` beside
    `train`: what is missing of the two is then taken from `train`.

    Args:
        path: the folder; `digits` writes scikit-learn's handwritten digits to `data_dir` as PNG
            files, to try this on.
        num_classes: how many classes there are; checked, since the net is built for so many.
        data_dir: where `digits` are written to.
        image_size: pixels a side; the shorter side is resized to it and the centre square is kept.
        mean: of the channels, for pixel values in `[0, 1]`.
        std: of the channels, likewise.
        augmentation: applied to the training images, uint8 `(3, H, W)`; None leaves them alone.
        val_fraction: of the images, for validation.
        test_fraction: of the images, for the test.
        split_seed: which ones; apart from the run's seed, so that runs can be compared.
        batch_size: images a step, on each device.
        num_workers: processes that decode; None takes as many as the machine has cores.
        loader: further arguments of the DataLoader, over the defaults of `src/data/loading.py`.

    Raises:
        ValueError: in `setup`, if the folder is not as described here.
    """

    def __init__(
        self,
        path: str,
        num_classes: int,
        data_dir: str = "data",
        image_size: int = 64,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        augmentation: Callable[[Tensor], Tensor] | None = None,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 42,
        batch_size: int = 64,
        num_workers: int | None = None,
        loader: Mapping[str, Any] | None = None,
    ) -> None:
        workers = default_workers() if num_workers is None else num_workers
        super().__init__(batch_size, workers, loader)
        self.is_digits = path == "digits"
        self.path = Path(data_dir, "digits_png") if self.is_digits else Path(path).expanduser()
        self.num_classes = num_classes
        self.mean, self.std = tuple(mean), tuple(std)
        shape = [v2.PILToTensor(), v2.Resize(image_size), v2.CenterCrop(image_size)]
        scale = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(self.mean, self.std)]
        self.transform = v2.Compose([*shape, *scale])
        self.train_transform = v2.Compose([*shape, augmentation or v2.Identity(), *scale])
        self.fractions = {"val": val_fraction, "test": test_fraction}
        self.split_seed = split_seed
        self.class_names: tuple[str, ...] = ()

    def prepare_data(self) -> None:
        """Write the digits, if it is they that were asked for."""
        if self.is_digits and not self.path.is_dir():
            write_digits(self.path)

    def setup(self, stage: str | None = None) -> None:
        """List the files, split them once, and report how the classes are balanced."""
        if self.data_train is not None:
            return
        is_split = (self.path / "train").is_dir()
        root = self.path / "train" if is_split else self.path
        self.class_names = class_names_of(root)
        if len(self.class_names) != self.num_classes:
            raise ValueError(
                f"{root} holds {len(self.class_names)} classes ({', '.join(self.class_names)}), "
                f"not {self.num_classes}: set data.num_classes={len(self.class_names)}"
            )
        train = files_of(root, self.class_names)
        report_balance(self.class_names, [label for _, label in train])
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(self.split_seed))
        rows, sets = order.tolist(), {}
        for name, fraction in self.fractions.items():
            if is_split and (self.path / name).is_dir():
                sets[name] = files_of(self.path / name, self.class_names)
            else:
                size = round(fraction * len(train))
                sets[name], rows = [train[i] for i in rows[:size]], rows[size:]
        sets["train"] = [train[i] for i in rows]
        self.data_train = ImageFiles(sets["train"], self.train_transform)
        self.data_val = ImageFiles(sets["val"], self.transform)
        self.data_test = ImageFiles(sets["test"], self.transform)

    def predict_dataset(self, paths: Sequence[Path]) -> UnlabelledImages:
        """Return image files as the model takes them; needs no `setup`."""
        return UnlabelledImages(paths, self.transform)

    def state_dict(self) -> dict[str, list[str]]:
        """Put the names of the classes into checkpoints: where they predict, no folder has them."""
        return {"class_names": list(self.class_names)}

    def load_state_dict(self, state_dict: dict[str, list[str]]) -> None:
        """Take them from there."""
        self.class_names = tuple(state_dict["class_names"])


def report_balance(class_names: Sequence[str], labels: Sequence[int]) -> None:
    """Log the size of each class; warn, with the weights that would even it out, if they differ."""
    counts = torch.bincount(torch.tensor(labels), minlength=len(class_names))
    sizes = ", ".join(f"{name} {n}" for name, n in zip(class_names, counts.tolist(), strict=True))
    if counts.max() <= IMBALANCE * counts.min():
        log.info("Images in each class: %s", sizes)
        return
    weights = [round(weight, 3) for weight in (counts.sum() / len(counts) / counts).tolist()]
    log.warning(
        "The classes are not balanced: %s. To let each count the same in the loss: "
        '"+model.loss.weight={_target_: torch.tensor, data: %s}"',
        sizes,
        weights,
    )


def write_digits(folder: Path) -> None:
    """Write scikit-learn's 1,797 digits as PNG files of 8x8 pixels, `folder/DIGIT/NUMBER.png`."""
    from sklearn import datasets

    images, labels = datasets.load_digits(return_X_y=True)
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels.reshape(8, 8) * 255 / 16).astype("uint8")).save(path)
