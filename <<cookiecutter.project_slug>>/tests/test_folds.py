"""k folds: each row is validated on once, and a sweep over them ends with a line."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from src.data.digits_datamodule import DigitsDataModule
from src.data.folds import split
from src.runtime import hydra_versions, record
from src.runtime.identity import PROJECT_ROOT
from src.runtime.sweep.replicates import Replicates, summary


def test_each_row_is_validated_on_in_one_fold() -> None:
    validated = []
    order = torch.randperm(103)
    for fold in range(5):
        train, val = split(order, 20, fold, 5)
        assert sorted(torch.cat((train, val)).tolist()) == list(range(103))
        validated += val.tolist()
    assert sorted(validated) == list(range(103))


@pytest.mark.parametrize(("fold", "num_folds"), [(5, 5), (-1, 5), (0, 1), (0, 200)])
def test_a_fold_that_is_not_there_is_refused(fold: int, num_folds: int) -> None:
    with pytest.raises(ValueError, match=r"data\.num_folds"):
        split(torch.arange(103), 20, fold, num_folds)


def test_folds_of_the_digits_leave_the_test_set_alone() -> None:
    modules = [DigitsDataModule(fold=fold, num_folds=4) for fold in (None, 0, 1)]
    for module in modules:
        module.setup()
    plain, first, second = ([m.data_train, m.data_val, m.data_test] for m in modules)
    assert [len(part) for part in plain] == [1297, 250, 250]  # ty: ignore[invalid-argument-type]
    assert [len(part) for part in first] == [1160, 387, 250]  # ty: ignore[invalid-argument-type]
    assert torch.equal(first[2].images, plain[2].images)  # ty: ignore[missing-attribute]
    assert torch.equal(first[2].images, second[2].images)  # ty: ignore[missing-attribute]
    assert not torch.equal(first[1].images, second[1].images)  # ty: ignore[missing-attribute]


def test_mean_and_deviation() -> None:
    jobs = [{"test/acc": 0.9, "a": 1.0}, {"test/acc": 0.92, "a": 1.0, "b": 2.0}]
    assert summary(jobs) == "a 1.0000 ± 0.0000, test/acc 0.9100 ± 0.0141"


def test_a_sweep_over_folds_ends_with_a_line_a_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i, (lr, fold) in enumerate((lr, fold) for lr in (1, 2) for fold in range(2)):
        (tmp_path / str(i)).mkdir()
        overrides = [f"model.optimizer.lr={lr}", f"data.fold={fold}"]
        metrics = {"val/acc": lr / 4 + fold / 10}
        record.write(
            tmp_path / str(i), {"status": "finished", "overrides": overrides, "metrics": metrics}
        )
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(PROJECT_ROOT / "configs"), **hydra_versions.INITIALIZE):
        overrides = ["common/search=kfold", f"hydra.sweep.dir={tmp_path}"]
        cfg = compose("train", overrides=overrides, return_hydra_config=True)
    assert cfg.hydra.sweeper.params["data.fold"] == "range(0,5)"
    Replicates().on_multirun_end(cfg)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "2 runs of [model.optimizer.lr=1]: val/acc 0.3000 ± 0.0707"
    assert second == "2 runs of [model.optimizer.lr=2]: val/acc 0.5500 ± 0.0707"
