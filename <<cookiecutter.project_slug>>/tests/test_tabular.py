"""Tables: read, checked, standardised by the training rows alone, and trained on."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from src.data.tabular_datamodule import TabularDataModule
from src.eval import evaluate
from src.train import train
from tests.conftest import Compose


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """Return a table in which the price follows from area and town; nothing else matters."""
    generator = torch.Generator().manual_seed(0)
    area = (torch.rand(200, generator=generator) * 100).tolist()
    town = ["Ulm" if i % 3 else "Bonn" for i in range(200)]
    price = [1000 + 10 * a + (500 if t == "Bonn" else 0) for a, t in zip(area, town, strict=True)]
    return pd.DataFrame({"id": range(200), "area": area, "town": town, "price": price})


def test_a_csv_is_trained_on_and_its_scale_kept(
    composed: Compose, table: pd.DataFrame, tmp_path: Path
) -> None:
    table.to_csv(tmp_path / "houses.csv", index=False)
    cfg = composed(
        *("data=tabular", "model=tabular_regressor", f"data.path={tmp_path}/houses.csv"),
        *("data.target=price", "data.drop=[id]", "data.num_features=3", "seed=0"),
        *("trainer.max_epochs=15", "model.optimizer.lr=0.01", "common/logger@logger=none"),
    )
    metrics, objects = train(cfg)
    assert metrics["test/r2"] > 0.9
    best = objects["trainer"].checkpoint_callback.best_model_path  # ty: ignore[missing-attribute]
    scale = torch.load(best, weights_only=True)["TabularDataModule"]
    assert scale["target_mean"] == pytest.approx(table["price"].mean(), rel=0.05)
    again, _ = evaluate(composed(f"ckpt_path={best}", config_name="eval"))
    assert again["test/mae"] == metrics["test/mae"]


def test_parquet_is_read_as_csv_is(table: pd.DataFrame, tmp_path: Path) -> None:
    table.to_csv(tmp_path / "houses.csv", index=False)
    table.to_parquet(tmp_path / "houses.parquet")
    sets = []
    for suffix in ("csv", "parquet"):
        datamodule = TabularDataModule(f"{tmp_path}/houses.{suffix}", "price", 4)
        datamodule.setup()
        sets.append(next(iter(datamodule.val_dataloader())))
        features, targets = next(iter(datamodule.train_dataloader()))
        assert features.shape == (32, 4)
        assert targets.shape == (32,)
    for one, other in zip(*sets, strict=True):
        assert torch.allclose(one, other)


def test_mistakes_are_named(table: pd.DataFrame, tmp_path: Path) -> None:
    table.loc[3, "area"] = float("nan")
    path = tmp_path / "houses.csv"
    table.to_csv(path, index=False)
    for arguments, message in [
        ((f"{tmp_path}/none.csv", "price", 3), r"does not exist: set data\.path"),
        ((str(path), "prize", 3), "no column prize, only id, area, town, price"),
        ((str(path), "price", 3), r"empty cells: area\. .*data\.drop=\[area\]"),
        ((str(path), "town", 3, ["area"]), "town holds words"),
        ((str(path), "price", 3, ["area", "id"]), r"2 features, not 3: set data\.num_features=2"),
        ((__file__, "price", 3), "neither .csv nor .parquet"),
    ]:
        with pytest.raises(ValueError, match=message):
            TabularDataModule(*arguments).setup()
