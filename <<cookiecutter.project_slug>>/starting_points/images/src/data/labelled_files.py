"""Find labelled image files in folders and CSV files, leave out broken ones, and split them."""

import csv
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from src.data.image_files import find_images, has_image_header

log = logging.getLogger(__name__)

Labelled = tuple[Path, str]  # a file and its class


def class_folders(root: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones and those of macOS."""
    folders = [path for path in root.iterdir() if path.is_dir()]
    return sorted(folder for folder in folders if not folder.name.startswith((".", "__MACOSX")))


def list_folders(root: Path) -> list[Labelled]:
    """Return the image files in the folders of a folder, with the folders' names as classes."""
    folders = class_folders(root)
    return [(path, folder.name) for folder in folders for path in find_images(folder)]


def read_csv(path: Path, file_column: str, label_column: str) -> list[Labelled]:
    """Return the files and classes in two columns of a CSV file, as far as a row has both.

    The separator is the one of comma, semicolon, tab and `|` that the first line holds most of.

    Raises:
        ValueError: if a column is missing, or the file is not UTF-8.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines() or [""]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: save it as CSV UTF-8 ({error})") from error
    reader = csv.DictReader(lines, delimiter=max(",;\t|", key=lines[0].count))
    columns = reader.fieldnames or []
    missing = {file_column, label_column}.difference(columns)
    if missing:
        raise ValueError(
            f"{path} has no column {' or '.join(sorted(missing))}, only {', '.join(columns)}: "
            "set data.file_column and data.label_column"
        )
    rows = [(row[file_column], row[label_column]) for row in reader]
    complete = [(path.parent / file, label) for file, label in rows if file and label]
    if len(complete) < len(rows):
        count = len(rows) - len(complete)
        rank_zero_only(log.warning)("%d rows of %s have no file or no class", count, path)
    return complete


def without_broken_files(sets: Mapping[str, Sequence[Labelled]]) -> dict[str, list[Labelled]]:
    """Return sets of files without those that do not begin as an image, and warn about these.

    Raises:
        ValueError: if none is an image.
    """
    paths = [path for files in sets.values() for path, _ in files]
    with ThreadPoolExecutor(16) as pool:  # disks in a network answer several at a time
        are_images = list(pool.map(has_image_header, paths))
    broken = [path for path, is_image in zip(paths, are_images, strict=True) if not is_image]
    if broken:
        first = ", ".join(map(str, broken[:3])) + (", ..." if len(broken) > 3 else "")
        message = f"{len(broken)} of {len(paths)} files cannot be read as images: {first}"
        if len(broken) == len(paths):
            raise ValueError(message)
        rank_zero_only(log.warning)("%s. They are left out: repair or remove them", message)
    left_out = set(broken)
    return {
        name: [file for file in files if file[0] not in left_out] for name, files in sets.items()
    }


def split_files(
    files: Sequence[Labelled], root: Path, fractions: Mapping[str, float], seed: int
) -> dict[str, list[Labelled]]:
    """Split files into `train`, and `val` and `test` as far as `fractions` names them.

    The part of a file follows from the seed and its path below `root` alone, so it stays there
    when other files come or go. The sizes are therefore near the fractions, not exact. Only a part
    that would be empty takes a file of the largest one.
    """
    positions = {file: position(file[0], root, seed) for file in files}
    parts: dict[str, list[Labelled]] = {"train": []} | {name: [] for name in fractions}
    val_end = fractions.get("val", 0)
    test_start = 1 - fractions.get("test", 0)
    for file in sorted(files, key=lambda file: positions[file]):
        if positions[file] < val_end:
            parts["val"].append(file)
        elif positions[file] >= test_start:
            parts["test"].append(file)
        else:
            parts["train"].append(file)
    for name, part in parts.items():
        largest = max(parts.values(), key=len)
        if not part and len(largest) > 1 and fractions.get(name, 1) > 0:
            part.append(largest.pop())
    return parts


def position(path: Path, root: Path, seed: int) -> float:
    """Return the place of a file in a random order, in `[0, 1)`."""
    folder = os.path.join(os.path.abspath(root), "")
    name = os.path.abspath(path).removeprefix(folder).replace(os.sep, "/")
    digest = sha256(os.fsencode(f"{seed}/{name}")).digest()
    return int.from_bytes(digest[:6]) / 2**48


def write_digits(folder: Path) -> None:
    """Write scikit-learn's 1,797 digits as PNG files of 8x8 pixels, `folder/DIGIT/NUMBER.png`."""
    from sklearn.datasets import load_digits  # takes a second, and your own pictures do without

    images, labels = load_digits(return_X_y=True)
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        greys = pixels.reshape(8, 8) * 255 / 16
        picture = Image.fromarray(greys.astype("uint8"))
        picture.save(path)
