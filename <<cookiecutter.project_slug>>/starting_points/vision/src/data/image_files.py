"""Find image files and decode them."""

from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2.functional import pil_to_tensor

# What torchvision decodes as RGB, faster than PIL: neither palettes nor transparency
FAST_FORMATS = {"JPEG", "PNG"}
FAST_MODES = {"RGB", "L", "CMYK"}
# What PIL raises for a file that it cannot decode
BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}


def find_images(folder: Path) -> list[Path]:
    """Return the image files below a folder, sorted, without hidden and other files."""
    found = []
    for path in folder.rglob("*"):
        names = path.relative_to(folder).parts
        if path.suffix.lower() in SUFFIXES and not any(name.startswith(".") for name in names):
            found.append(path)
    return sorted(found)


def has_image_header(path: Path) -> bool:
    """Return whether a file begins as an image does; what follows may still be damaged."""
    try:
        with Image.open(path):
            return True
    except BROKEN:
        return False


def read_image(path: Path) -> Tensor:
    """Return the image in a file as RGB, uint8 `(3, H, W)`.

    EXIF orientation is applied, 16 bits are reduced to 8, an animation gives its first frame, and
    transparent pixels become white.

    Raises:
        ValueError: if the file cannot be decoded.
    """
    try:
        encoded = BytesIO(path.read_bytes())  # the file is opened once
        with Image.open(encoded) as file:  # reads the header only
            if file.format in FAST_FORMATS and file.mode in FAST_MODES:
                with suppress(RuntimeError):  # a kind that torchvision does not know
                    content = torch.frombuffer(encoded.getbuffer(), dtype=torch.uint8)
                    return decode_image(content, ImageReadMode.RGB, apply_exif_orientation=True)
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):  # 16 bits, which PIL would cut off at 255
                image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            return pil_to_tensor(Image.alpha_composite(white, image).convert("RGB"))
    except BROKEN as error:
        raise ValueError(f"{path} cannot be read as an image: repair or remove it") from error


class ImagesToPredict(Dataset[Tensor]):
    """The image files of a folder, or one image file, as a model takes them.

    Args:
        path: the folder or the file.
        transform: maps an image, uint8 `(3, H, W)`, to the input of the model.

    Raises:
        ValueError: if there is no image; for an item, if its file cannot be decoded.
    """

    def __init__(self, path: str, transform: Callable[[Tensor], Tensor]) -> None:
        root = Path(path).expanduser()
        self.files = [root] if root.is_file() else find_images(root)
        if not self.files:
            raise ValueError(f"input={path} is neither an image file nor a folder of them")
        self.names = [str(file) for file in self.files]
        self.transform = transform

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        """Return an image as the model takes it, without a batch dimension."""
        return self.transform(read_image(self.files[index]))
