"""Tests of tables that run inside a bake: tests/test_own_data.py copies them there."""

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from src.data.tabular_datamodule import TabularDataModule

DAYS = [datetime.date(2024, 1, 1 + number % 28) for number in range(60)]
FAR = [datetime.date(9999, 12, 31) if number % 5 == 0 else day for number, day in enumerate(DAYS)]


def table_of(folder: Path, suffix: str = "parquet", **columns: Any) -> str:
    """Write a table with a column of words and a target, `y`, and return its path."""
    words = [["cat", "dog"][number % 2] for number in range(60)]
    numbers = [number / 7 for number in range(60)]
    table = pd.DataFrame({"word": words, "y": numbers} | columns)
    path = str(folder / f"table.{suffix}")
    table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("days", [DAYS, FAR], ids=["near", "far"])
def test_dates_of_any_century_are_read(tmp_path: Path, suffix: str, days: list[Any]) -> None:
    datamodule = TabularDataModule(table_of(tmp_path, suffix, until=days), "y")
    datamodule.setup()
    assert datamodule.fitted.preparation.kinds["until"] == "date"
    assert torch.isfinite(datamodule.data_train.tensors[0]).all()
    rows = datamodule.prediction_dataset(table_of(tmp_path, "csv", until=FAR))
    assert set(rows.problems) == {""}


def test_decimals_of_a_database_are_numbers(tmp_path: Path) -> None:
    amounts = [None if number == 3 else Decimal(number) / 8 for number in range(60)]
    path = table_of(tmp_path, amount=amounts, y=[Decimal(number) / 4 for number in range(60)])
    datamodule = TabularDataModule(path, "y")
    datamodule.setup()
    assert (datamodule.task, datamodule.num_features) == ("regression", 3)
    assert datamodule.data_train.tensors[1].dtype == torch.float32


def test_an_infinite_target_is_refused(tmp_path: Path) -> None:
    path = table_of(tmp_path, y=[float("inf"), *range(59)])
    with pytest.raises(ValueError, match="y holds 'inf', but regression needs numbers"):
        TabularDataModule(path, "y", "regression").setup()


def test_an_open_quotation_mark_loses_no_rows(tmp_path: Path) -> None:
    path = table_of(tmp_path, "csv", area=range(5, 65))
    datamodule = TabularDataModule(path, "y")
    assert len(datamodule.prediction_dataset(path)) == 60
    text = Path(path).read_text("utf-8").replace("\ncat,", '\n"cat,', 1)
    Path(path).write_text(text, "utf-8")
    with pytest.raises(ValueError, match="EOF inside string starting at row 1"):
        datamodule.prediction_dataset(path)
