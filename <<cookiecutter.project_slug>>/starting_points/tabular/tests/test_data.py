"""The table: kinds of columns, gaps, targets, checkpoints and rows to predict."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from src.data.table_preparation import DATE_DAY_FIRST, parse_dates
from src.data.tabular_datamodule import TabularDataModule


@pytest.fixture
def houses(tmp_path: Path) -> Path:
    """Return a CSV file of 200 houses, with gaps, dates, an identifier and a column of names."""
    random = np.random.default_rng(0)
    area = random.uniform(20, 200, 200).round(1)
    town = random.choice(["Bonn", "Ulm"], 200)
    table = pd.DataFrame(
        {
            "id": range(1, 201),
            "owner": [f"owner {i}" for i in range(200)],
            "area": area,
            "town": town,
            "sold": pd.date_range("2020-01-01", periods=200).strftime("%d/%m/%Y"),
            "price": 10_000 + 3_000 * area + 50_000 * (town == "Bonn"),
        }
    )
    table.loc[::20, ["area", "town", "sold"]] = None
    table.to_csv(tmp_path / "houses.csv", index=False)
    table.to_parquet(tmp_path / "houses.parquet")
    return tmp_path / "houses.csv"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_become_features(houses: Path, suffix: str) -> None:
    datamodule = TabularDataModule(str(houses.with_suffix(suffix)), "price")
    kinds = {"area": "number", "town": "category", "sold": "date, day first"}
    assert datamodule.fitted.preparation.kinds == kinds
    assert (datamodule.task, datamodule.num_outputs) == ("regression", 1)
    datamodule.setup()
    features, targets = next(iter(datamodule.train_dataloader()))
    assert features.shape == (32, datamodule.num_features)
    assert features.isfinite().all()
    assert targets.min() > 10_000  # in its own unit


def test_only_training_rows_are_learned_from(houses: Path) -> None:
    datamodule = TabularDataModule(str(houses), "price")
    training, _, _ = datamodule.split()
    mean = datamodule.table["price"].iloc[training].mean()
    assert datamodule.target_mean == pytest.approx(mean)


def test_classes_are_found(houses: Path) -> None:
    datamodule = TabularDataModule(str(houses), "town")
    assert (datamodule.task, datamodule.class_names) == ("classification", ["Bonn", "Ulm"])
    datamodule.setup()
    assert next(iter(datamodule.val_dataloader()))[1].dtype == torch.int64


def test_a_checkpoint_prepares_new_rows_alike(houses: Path, tmp_path: Path) -> None:
    datamodule = TabularDataModule(str(houses), "price")
    datamodule.setup()
    torch.save(datamodule.state_dict(), tmp_path / "state.ckpt")
    restored = TabularDataModule("gone.csv", "price")
    restored.load_state_dict(torch.load(tmp_path / "state.ckpt", weights_only=True))
    new = pd.read_csv(houses).drop(columns=["id", "price"]).astype({"area": object})
    new.loc[1, "area"] = "large"
    new.to_csv(tmp_path / "new.csv", index=False)
    rows = restored.prediction_dataset(str(tmp_path / "new.csv"))
    expected, _ = datamodule.fitted.preparation.transform(datamodule.table)
    assert len(rows) == len(rows.names) == 200
    assert torch.equal(rows[0], torch.from_numpy(expected[0]))
    with pytest.raises(ValueError, match="area is 'large', not a number"):
        rows[1]


def test_a_csv_of_excel_is_read(houses: Path, tmp_path: Path) -> None:
    table = pd.read_csv(houses).replace({"town": "Bonn"}, "Köln")
    table.to_csv(tmp_path / "excel.csv", index=False, encoding="cp1252")
    datamodule = TabularDataModule(str(tmp_path / "excel.csv"), "town")
    assert datamodule.class_names == ["Köln", "Ulm"]


def test_a_cell_that_is_no_number_spoils_its_row_only(houses: Path, tmp_path: Path) -> None:
    table = pd.read_csv(houses)
    table.to_csv(tmp_path / "german.csv", sep=";", decimal=",", index=False)
    datamodule = TabularDataModule(str(tmp_path / "german.csv"), "price")
    assert datamodule.target_mean == TabularDataModule(str(houses), "price").target_mean
    (tmp_path / "new.csv").write_text("area;town;sold\n120,5;Bonn;\nlarge;Ulm;\n")
    rows = datamodule.prediction_dataset(str(tmp_path / "new.csv"))
    assert rows.problems == ["", "area is 'large', not a number"]
    assert rows.names == ["row 1", "row 2"]


def test_a_date_that_begins_with_the_year_is_never_day_first() -> None:
    dates = parse_dates(pd.Series(["2024-05-01", "01.05.2024", None]), DATE_DAY_FIRST)
    assert dates.dt.month.tolist()[:2] == [5, 5]


def test_a_category_not_in_the_training_is_named(
    houses: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    datamodule = TabularDataModule(str(houses), "price")
    (tmp_path / "new.csv").write_text("area,town,sold\n120,Atlantis,\n80,Ulm,\n")
    assert datamodule.prediction_dataset(str(tmp_path / "new.csv")).problems == ["", ""]
    assert "categories that were not in the training, such as 'Atlantis' (1 of 2" in caplog.text


@pytest.mark.parametrize(
    ("price", "area", "expected"),
    [
        ("426.627", "1.234,5", 426_627),
        ("426.627", "120,5", 426_627),
        ("426.627", "120.5", 426.627),
        ("1.591.039", "120", 1_591_039),
        ("426.627", "120", None),
    ],
)
def test_dots_between_thousands(tmp_path: Path, price: str, area: str, expected: float) -> None:
    rows = [f"{100 + n};{n % 3};{town}\n" for n in range(30) for town in ("Bonn", "Ulm")]
    path = tmp_path / "german.csv"
    path.write_text("".join(["price;area;town\n", f"{price};{area};Bonn\n", *rows]))
    datamodule = TabularDataModule(str(path), "price", "regression")
    if expected is None:
        with pytest.raises(ValueError, match="the dots in price may be decimal points or separate"):
            datamodule.setup()
    else:
        assert datamodule.table["price"][0] == expected


def test_new_rows_have_the_thousands_of_the_training(tmp_path: Path) -> None:
    rows = [f"{n % 7};{n + 1}.{100 + n}\n" for n in range(30)]
    (tmp_path / "german.csv").write_text("".join(["score;price\n", *rows, "3;1.591.039\n"]))
    datamodule = TabularDataModule(str(tmp_path / "german.csv"), "score", "regression")
    (tmp_path / "new.csv").write_text("price;town\n12.500;\n")
    (tmp_path / "plain.csv").write_text("price,town\n12500,\n")
    german, plain = (
        datamodule.prediction_dataset(str(tmp_path / f"{name}.csv"))[0] for name in ("new", "plain")
    )
    assert torch.equal(german, plain)


@pytest.mark.parametrize(
    ("target", "task", "message"),
    [
        ("prize", None, "no column prize, only id, owner, area"),
        ("owner", None, "owner has 200 classes"),
        ("town", "regression", "regression needs numbers"),
    ],
)
def test_mistakes_are_explained(houses: Path, target: str, task: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TabularDataModule(str(houses), target, task).setup()
