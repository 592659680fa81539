"""Read numbers with a decimal comma, cell by cell: 120,5."""

import pandas as pd

WITH_COMMA = r"[+-]?\d+,\d+"


def plain_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return columns of texts as numbers where every cell is one.

    Cells with a decimal comma get a point, also in a column where another cell is no number.
    """
    columns = {}
    for name, texts in table.items():
        with_point = texts.str.replace(",", ".", regex=False)
        cells = texts.mask(texts.str.fullmatch(WITH_COMMA, na=False), with_point)
        numbers = pd.to_numeric(cells, errors="coerce")
        columns[name] = numbers if numbers.isna().equals(cells.isna()) else cells
    return pd.DataFrame(columns)
