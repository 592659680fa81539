"""Files around a prediction: the images it is asked for, its table, its contact sheet.

Imports no torch, so that a wrong path is told at once.
"""

import csv
import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
CELL, CAPTION, GAP, COLUMNS = 96, 20, 4, 8  # pixels, and images a row

Row = dict[str, Any]


def checked(output: Path) -> Path:
    """Return the path of the table, its folder made.

    Raises:
        ValueError: if its suffix is unknown, or what writes it is not installed.
    """
    if output.suffix not in (".csv", ".parquet"):
        raise ValueError(f"output={output} is neither .csv nor .parquet: name it preds.csv, say")
    if output.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ValueError(f"output={output} needs pyarrow: pip install pyarrow, or name it .csv")
    output.parent.mkdir(parents=True, exist_ok=True)
    return output


def images(path: Path) -> list[Path]:
    """Return the image at a path, or those in a folder and below, sorted.

    Raises:
        ValueError: if there is none.
    """
    if path.is_file():
        return [path]
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        suffixes = ", ".join(sorted(SUFFIXES))
        what = "holds no image" if path.is_dir() else "does not exist"
        raise ValueError(f"input={path} {what}: give an image or a folder of them ({suffixes})")
    return found


def rows(
    paths: Sequence[Path], probabilities: Sequence[Sequence[float]], names: Sequence[str]
) -> list[Row]:
    """Return a row for each image: its class, the probability of that, and of each class."""
    table = []
    for path, values in zip(paths, probabilities, strict=True):
        known = not any(math.isnan(value) for value in values)
        best = max(range(len(names)), key=lambda i: values[i]) if known else None
        row: Row = {"file": str(path)}
        row["prediction"] = None if best is None else names[best]
        row["probability"] = None if best is None else values[best]
        row |= {
            f"p_{name}": value if known else None for name, value in zip(names, values, strict=True)
        }
        table.append(row)
    return table


def write(output: Path, table: Sequence[Row]) -> None:
    """Write the rows as CSV or as parquet, as the suffix says."""
    if output.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(list(table)), output)
        return
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)


def contact_sheet(table: Sequence[Row]) -> Image.Image:
    """Draw the images as they are in their files, each over its class and probability in percent.

    The less probable, the redder the caption.
    """
    height = CELL + CAPTION + GAP
    columns = min(COLUMNS, len(table))
    size = (columns * (CELL + GAP) + GAP, -(-len(table) // columns) * height + GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for i, row in enumerate(table):
        left, top = GAP + (i % columns) * (CELL + GAP), GAP + (i // columns) * height
        try:
            with Image.open(row["file"]) as image:
                tile = ImageOps.pad(image.convert("RGB"), (CELL, CELL))
        except (UnidentifiedImageError, OSError):
            tile = Image.new("RGB", (CELL, CELL), "lightgray")
        sheet.paste(tile, (left, top))
        sure = row["probability"] or 0.0
        caption = f"{row['prediction']} {sure:.0%}" if row["prediction"] else "unreadable"
        while len(caption) > 1 and draw.textlength(caption, font) > CELL:
            caption = caption[1:]  # the percentage stays
        colour = (round(200 * (1 - sure)), round(110 * sure), 40)
        draw.text((left + CELL // 2, top + CELL + CAPTION // 2), caption, colour, font, anchor="mm")
    return sheet
