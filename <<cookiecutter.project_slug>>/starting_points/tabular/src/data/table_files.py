"""Read tables: CSV and parquet files, and a table that comes with scikit-learn."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from src.data.table_numbers import plain_numbers

log = logging.getLogger(__name__)

GAPS = ["?", "-", " "]  # cells without a value, besides those that pandas knows
UNREADABLE = "(too many cells)"  # fills a line of a CSV file that cannot be read


def read_table(
    path: str, keep_bad_lines: bool = False, thousands: Collection[str] | None = None
) -> pd.DataFrame:
    """Return the table in a file; `diabetes` is scikit-learn's embedded one.

    Args:
        path: a `.csv`, `.tsv` or `.parquet` file. The separator of a CSV file is found out; where
            it is no comma, numbers may have a decimal comma, and dots between thousands.
        keep_bad_lines: fill lines that have too many cells with `UNREADABLE`.
        thousands: columns with dots between thousands in the training; see `plain_numbers`.

    Raises:
        ValueError: if the file is missing, of another kind, or cannot be read.
    """
    if path == "diabetes":
        return load_diabetes()
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{path} does not exist: give the path of a .csv or .parquet file")
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".tsv", ".parquet"):
        raise ValueError(f"{path} is neither .csv nor .parquet: convert it, or extend read_table")
    try:
        if suffix == ".parquet":
            table = pd.read_parquet(file).apply(decimals_to_floats)
        else:
            table = read_csv(file, keep_bad_lines, thousands)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read ({error}): save it as CSV UTF-8") from error
    except (ValueError, OSError) as error:  # those of pandas and pyarrow
        raise ValueError(f"{path} cannot be read: {error}") from error
    table.columns = table.columns.map(str)
    return table


def decimals_to_floats(values: pd.Series) -> pd.Series:
    """Return a column of decimals, as databases write amounts of money, as floats."""
    is_decimal = pd.api.types.infer_dtype(values, skipna=True) == "decimal"
    return values.astype(float) if is_decimal else values


def read_csv(file: Path, keep_bad_lines: bool, thousands: Collection[str] | None) -> pd.DataFrame:
    """Read a CSV file with the separator that its first line holds most of."""
    encoding = encoding_of(file)
    with file.open(encoding=encoding) as lines:
        header = lines.readline()
    separator = max(",;\t|", key=header.count)
    options: dict[str, Any] = {"sep": separator, "na_values": GAPS, "encoding": encoding}
    if separator != ",":
        options["dtype"] = str
    try:
        table = pd.read_csv(file, low_memory=False, **options)
    except pd.errors.ParserError as error:
        if not keep_bad_lines or "EOF inside string" in str(error):  # it swallows the other rows
            raise
        bad_line = [UNREADABLE] * (header.count(separator) + 1)
        table = pd.read_csv(file, engine="python", on_bad_lines=lambda cells: bad_line, **options)
    return table if separator == "," else plain_numbers(table, thousands)


def encoding_of(file: Path) -> str:
    """Return UTF-8 if the whole file is that, and otherwise what Excel writes, with a warning."""
    try:
        with file.open(encoding="utf-8-sig") as lines:
            all(lines)  # decodes each of them
    except UnicodeDecodeError:
        log.warning("%s is not UTF-8: it is read as cp1252, the encoding of Excel", file)
        return "cp1252"
    return "utf-8-sig"


def load_diabetes() -> pd.DataFrame:
    """Return 442 patients: ten measurements, and how far diabetes progressed in a year.

    Source: B. Efron et al., Least Angle Regression, 2004; it codes the sex as 1 and 2.
    """
    from sklearn import datasets  # not needed for a table of one's own

    table = datasets.load_diabetes(as_frame=True, scaled=False).frame
    table["sex"] = table["sex"].astype(int).astype(str)  # a category, although coded in numbers
    return table.rename(columns={"target": "progression"})
