"""Turn the columns of a table into features, with what was learned from the training rows."""

import logging
from typing import Any, Self

import numpy as np
import pandas as pd
from pandas.api import types
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from src.data.table_files import UNREADABLE

log = logging.getLogger(__name__)

MAX_CATEGORIES = 100  # a column with more of them is left out
NUMBER, CATEGORY, DATE, DATE_DAY_FIRST = "number", "category", "date", "date, day first"
DATE_PATTERN = r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})(?:[ T].*)?"


def kinds_of_columns(table: pd.DataFrame) -> dict[str, str]:
    """Return the kind of each column that is used; log the others, in one line each."""
    kinds = {}
    for name, values in table.items():
        kind, reason = kind_of_column(values)
        if reason:
            log.info("Column %s is left out: %s", name, reason)
        else:
            kinds[str(name)] = kind
    return kinds


def kind_of_column(values: pd.Series) -> tuple[str, str]:
    """Return the kind of a column, and why it is left out (empty if it is not)."""
    known = values.dropna()
    numeric = types.is_numeric_dtype(values) and not types.is_bool_dtype(values)
    if not numeric:
        known = to_text(known)
    different = known.nunique()
    one_per_row = different == len(known)
    if different < 2 and len(known) in (0, len(values)):
        return "", "the same in every row"
    if numeric:
        # Measurements differ in every row as well: an identifier must look like one.
        if one_per_row and types.is_integer_dtype(values):
            consecutive = known.max() - known.min() == len(known) - 1
            if consecutive or str(values.name).lower().endswith("id"):
                return "", "an identifier, different in every row"
        return NUMBER, ""
    if types.is_datetime64_any_dtype(values):
        return DATE, ""
    if known.str.fullmatch(DATE_PATTERN).all():
        kind = DATE_DAY_FIRST if has_day_first(known) else DATE
        if parse_dates(known, kind).notna().all():
            return kind, ""
    if one_per_row:
        return "", "different in every row"
    if different > MAX_CATEGORIES:
        return "", f"{different} categories, more than {MAX_CATEGORIES}"
    return CATEGORY, ""


def to_text(values: pd.Series) -> pd.Series:
    """Return cells as texts, whole numbers without a decimal point; gaps become ``""``."""
    texts = values.astype(object).where(values.notna(), "").map(str)
    return texts.str.replace(r"^(-?\d+)\.0$", r"\1", regex=True)  # gaps turn integers into floats


def has_day_first(texts: pd.Series) -> bool:
    """Return whether dates begin with the day: a first number above 12, or dots between."""
    first = texts.str.extract(r"^(\d{1,2})([-/.])")
    is_above_12 = first[0].astype(float) > 12
    has_dot = first[1] == "."
    return bool(is_above_12.any() or has_dot.any())


def parse_dates(values: pd.Series, kind: str) -> pd.Series:
    """Return dates, in UTC; NaT where a cell is none."""
    dates = pd.to_datetime(values, errors="coerce", format="mixed", utc=True)
    if kind != DATE_DAY_FIRST:
        return dates
    day_first = pd.to_datetime(values, errors="coerce", format="mixed", dayfirst=True, utc=True)
    begins_with_year = values.astype(str).str.match(r"\d{4}")  # such as 2024-05-01
    return dates.where(begins_with_year, day_first)


def date_parts(dates: pd.Series) -> dict[str, pd.Series]:
    """Return days since 1970, month, weekday and hour."""
    since_1970 = dates - pd.Timestamp("1970-01-01", tz="UTC")  # in seconds: 9999-12-31 is a date
    days = since_1970.dt.total_seconds() / 86_400
    clock = dates.dt
    return {"days": days, "month": clock.month, "weekday": clock.day_of_week, "hour": clock.hour}


class TablePreparation:
    """Columns to features: gaps filled, numbers scaled, categories one-hot, dates in parts.

    Args:
        learned: plain data, as `fit` makes and a checkpoint keeps it: `kinds` of the columns;
            `fill`, `mean` and `scale` of the numbers; `categories` of the others.
    """

    def __init__(self, learned: dict[str, Any]) -> None:
        self.learned = learned
        self.kinds: dict[str, str] = learned["kinds"]
        self.imputer = new_imputer()
        self.scaler = StandardScaler()
        self.encoder = OneHotEncoder(
            categories=learned["categories"], handle_unknown="ignore", sparse_output=False
        )
        if learned["fill"]:  # the median and the mean of one row are that row itself
            self.imputer.fit([learned["fill"]])
            self.scaler.fit([learned["mean"]])
            self.scaler.scale_ = np.array(learned["scale"])
        if learned["categories"]:
            first = [[categories[0] for categories in learned["categories"]]]
            self.encoder.fit(np.array(first, dtype=object))

    @classmethod
    def fit(cls, table: pd.DataFrame, kinds: dict[str, str]) -> Self:
        """Learn from the training rows alone."""
        numbers, texts, _ = split_columns(table, kinds)
        learned: dict[str, Any] = {"kinds": kinds, "fill": [], "mean": [], "scale": []}
        if numbers.size:
            imputer = new_imputer()
            filled = imputer.fit_transform(numbers.to_numpy())
            scaler = StandardScaler().fit(filled)
            learned["fill"] = imputer.statistics_.tolist()
            learned["mean"] = scaler.mean_.tolist()
            learned["scale"] = scaler.scale_.tolist()
        learned["categories"] = [sorted(texts[name].unique()) for name in texts]
        return cls(learned)

    @property
    def num_features(self) -> int:
        """Number of features that the columns become."""
        numbers = len(self.learned["fill"])
        categories = sum(len(names) for names in self.learned["categories"])
        return numbers + categories

    def transform(self, table: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
        """Return the features, float32 `(N, F)`, and what is wrong with each row (empty if fine).

        Raises:
            ValueError: if a column is missing.
        """
        missing = [name for name in self.kinds if name not in table]
        if missing:
            raise ValueError(f"The table lacks columns of the training: {', '.join(missing)}")
        numbers, texts, problems = split_columns(table, self.kinds)
        parts = [np.empty((len(table), 0))]
        if numbers.size:
            filled = self.imputer.transform(numbers.to_numpy())
            parts.append(self.scaler.transform(filled))
        if texts.size:
            parts.append(self.encoder.transform(texts.to_numpy(dtype=object)))
        return np.hstack(parts).astype(np.float32), problems

    def unknown_categories(self, table: pd.DataFrame) -> dict[str, list[str]]:
        """Return the cells whose category the training rows had not, by column."""
        _, texts, _ = split_columns(table, self.kinds)
        found = {}
        for name, known in zip(texts, self.learned["categories"], strict=True):
            unknown = texts[name][~texts[name].isin([*known, UNREADABLE])]
            if len(unknown):
                found[name] = unknown.tolist()
        return found


def new_imputer() -> SimpleImputer:
    """Fill gaps with the median; a column that is empty in the training rows becomes 0."""
    return SimpleImputer(strategy="median", keep_empty_features=True)


def split_columns(
    table: pd.DataFrame, kinds: dict[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return columns of numbers (parts of dates too), those of texts, and each row's problems."""
    numbers: dict[str, pd.Series] = {}
    texts: dict[str, pd.Series] = {}
    problems = np.full(len(table), "", dtype=object)
    for name, kind in kinds.items():
        values = table[name]
        if kind == CATEGORY:
            texts[name] = to_text(values)
            is_bad = texts[name] == UNREADABLE
        elif kind == NUMBER:
            converted = pd.to_numeric(values, errors="coerce").astype(float)
            numbers[name] = converted.replace([np.inf, -np.inf], np.nan)
            is_bad = values.notna() & converted.isna()
        else:
            dates = parse_dates(values, kind)
            for part, part_values in date_parts(dates).items():
                numbers[f"{name}.{part}"] = part_values
            is_bad = values.notna() & dates.isna()
        bad = is_bad.to_numpy()
        problems[bad] = [f"{name} is {cell!r}, not a {kind}" for cell in values[bad]]
    return pd.DataFrame(numbers), pd.DataFrame(texts), problems.tolist()
