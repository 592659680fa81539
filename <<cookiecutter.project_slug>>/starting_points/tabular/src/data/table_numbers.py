"""Read numbers with a decimal comma, or with dots between thousands: 120,5 and 1.591.039."""

from collections.abc import Collection

import pandas as pd

WITH_COMMA = r"[+-]?(?:\d+|[1-9]\d{0,2}(?:\.\d{3})+),\d+"  # 120,5 or 1.234,5
WITH_DOTS = r"[+-]?[1-9]\d{0,2}(?:\.\d{3}){2,}"  # 1.591.039
WITH_POINT = r"[+-]?(?:\d*\.\d{1,2}|\d*\.\d{4,}|0*\.\d{3}|\d{4,}\.\d{3})"  # 12.5
UNCLEAR = r"[+-]?[1-9]\d{0,2}\.\d{3}"  # 426.627: a dot between thousands, or a decimal point
POINT, THOUSANDS = "decimal point", "thousands"


def plain_numbers(table: pd.DataFrame, learned: Collection[str] | None = None) -> pd.DataFrame:
    """Return columns of texts as numbers where every cell is one.

    Each cell is converted by itself, so that one that is no number changes no other. The result's
    `attrs` list the columns of `thousands`, with dots between them, and those that are `unclear`.

    Args:
        table: columns of texts.
        learned: the columns of thousands in the training, for what the table itself leaves
            unclear; None if this is the training.
    """
    signs = {name: signs_in(texts) for name, texts in table.items()}
    signs_in_table = set().union(*signs.values())
    columns, thousands, unclear = {}, [], []
    for name, texts in table.items():
        found = next((s for s in (signs[name], signs_in_table) if len(s) == 1), set())
        if not found and learned is not None:
            found = {THOUSANDS} if name in learned else {POINT}
        to_rewrite = matches(texts, f"{WITH_COMMA}|{WITH_DOTS}")
        is_unclear = matches(texts, UNCLEAR)
        if THOUSANDS in found:
            to_rewrite |= is_unclear
        plain = texts.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
        cells = texts.mask(to_rewrite, plain)
        numbers = pd.to_numeric(cells, errors="coerce")
        is_numeric = numbers.isna().equals(cells.isna())
        columns[name] = numbers if is_numeric else cells
        if is_unclear.any() and THOUSANDS in found:
            thousands.append(name)
        elif is_unclear.any() and is_numeric and not found:
            unclear.append(name)
    result = pd.DataFrame(columns)
    result.attrs = {"thousands": thousands, "unclear": unclear}
    return result


def signs_in(texts: pd.Series) -> set[str]:
    """Return what a dot means in a column, as far as its cells tell; both if they contradict."""
    patterns = {THOUSANDS: f"{WITH_COMMA}|{WITH_DOTS}", POINT: WITH_POINT}
    return {meaning for meaning, pattern in patterns.items() if matches(texts, pattern).any()}


def matches(texts: pd.Series, pattern: str) -> pd.Series:
    """Return which cells match a pattern, with or without spaces around it; gaps do not."""
    return texts.str.fullmatch(f" *(?:{pattern}) *", na=False).astype(bool)
