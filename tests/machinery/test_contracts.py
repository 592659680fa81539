"""What people and scripts rely on: names, order, results and the rules of a run's folder."""

import struct
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command, Compose
from omegaconf import OmegaConf

from src.data.mnist_datamodule import MNISTDataModule
from src.eval import evaluate
from src.runtime import describe
from src.runtime.checkpoints import PlainCheckpointIO
from src.runtime.overrides import choices_by_override_key, compose
from src.runtime.project import CONFIGS, ConfigError
from src.runtime.run_folder import Claim, read_run
from src.runtime.sweeps import optimized_value
from src.train import train

CHOICES = {
    "data": {"mnist", "digits", "none"},
    "model/net": {"dense", "dense_wide", "cnn", "resnet18"},
    "model/optimizer": {"adam", "adamw", "sgd"},
    "model/scheduler": {"cosine", "one_cycle", "plateau", "none"},
    "trainer": {"cpu", "gpu", "mps", "ddp", "ddp_sim", "fsdp"},
    "logger": {"mlflow", "tensorboard", "csv", "wandb", "many_loggers", "none"},
    "debug": {"limit", "overfit", "profiler", "fast_dev_run", "default"},
    "experiment": {"mon_experience"},
    "search": {"mnist_optuna", "lr_grid"},
}
KEYS = (
    *("train", "test", "seed", "tags", "task_name", "sweep_name", "ckpt_path", "init_from"),
    *("optimized_metric", "monitor", "mode", "paths.log_dir", "paths.data_dir"),
    *("paths.output_dir", "trainer.min_epochs", "trainer.max_epochs", "data.batch_size"),
    *("model.optimizer.lr", "model.compile", "model.net.lin1_size", "logger.mlflow"),
)


def test_groups_and_choices_keep_their_names() -> None:
    found = choices_by_override_key("train")
    for group, choices in CHOICES.items():
        assert choices <= set(found[group])


def test_keys_keep_their_names() -> None:
    cfg = compose("train")
    for key in KEYS:
        parent, _, name = key.rpartition(".")
        assert name in (OmegaConf.select(cfg, parent) if parent else cfg), key


def test_the_defaults_of_train_yaml_keep_their_order() -> None:
    listed = OmegaConf.load(CONFIGS / "train.yaml").defaults
    items = [item if isinstance(item, str) else next(iter(item)) for item in listed]
    order = [
        *("_self_", "common/config_base", "data", "model", "/common/callbacks@callbacks"),
        *("/common/logger@logger", "experiment", "/common/search", "/common/trainer@trainer"),
        "/common/debug",
    ]
    assert [item for item in items if item in order] == order


def test_mnist_is_split_as_everybody_does(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, number in (("train", 60_000), ("t10k", 10_000)):
        pixels = np.zeros((number, 28, 28), dtype=np.uint8)
        header = struct.pack(">IIII", 0x803, number, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        labels = np.arange(number, dtype=np.uint8) % 10
        header = struct.pack(">II", 0x801, number)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    datamodule = MNISTDataModule(str(tmp_path))
    datamodule.setup()
    parts = (datamodule.data_train, datamodule.data_val, datamodule.data_test)
    assert [len(part) for part in parts] == [55_000, 5_000, 10_000]
    torch.manual_seed(1)  # the seed of a run does not choose the images for validation
    other = MNISTDataModule(str(tmp_path))
    other.setup()
    assert other.data_val.indices == datamodule.data_val.indices
    assert not set(other.data_val.indices) & set(other.data_train.indices)


@pytest.mark.parametrize(
    ("optimized", "kind"), [("null", type(None)), ("val/acc", float), ("[val/acc,val/loss]", tuple)]
)
def test_main_returns_what_is_optimized(optimized: str, kind: type, compose_train: Compose) -> None:
    cfg = compose_train(f"optimized_metric={optimized}")
    metrics, _ = train(cfg)
    assert isinstance(optimized_value(cfg, metrics), kind)


def test_without_monitor_best_means_the_last_epoch(compose_train: Compose, tmp_path: Path) -> None:
    metrics, _ = train(compose_train("callbacks=default", "trainer.max_epochs=2"))
    (folder,) = tmp_path.glob("logs/train/runs/*")
    assert {path.name for path in folder.glob("checkpoints/*")} == {"epoch_001.ckpt", "last.ckpt"}
    cfg = compose("eval", f"ckpt_path={folder}", f"paths.log_dir={tmp_path}/logs")
    cfg.trainer.accelerator = "cpu"
    tested, _ = evaluate(cfg)
    assert set(tested) == {name for name in metrics if name.startswith("test")}


def test_a_folder_holds_one_run(compose_train: Compose, command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    where = f"hydra.run.dir={folder}"
    small = ("data=digits", "logger=none", "callbacks=none", "+trainer.fast_dev_run=true")
    claim = Claim.acquire(folder)
    refused = command(*small, where)
    assert refused.code == 1
    assert "is in use: process" in refused.err
    claim.release()
    assert command(*small, where).code == 0  # a dead run without a checkpoint starts again
    assert (read_run(folder) or {})["status"] == "finished"
    refused = command(*small, where)
    assert refused.code == 1
    assert "holds a finished run" in refused.err


def test_a_run_that_lost_its_claim_writes_no_checkpoint(tmp_path: Path) -> None:
    claim = Claim.acquire(tmp_path)
    claim.path.with_suffix(f".{claim.number + 1}").write_text("{}")
    with pytest.raises(ConfigError, match="another process has taken over"):
        PlainCheckpointIO({}, claim).save_checkpoint(
            {"state_dict": {"a": torch.ones(1)}}, tmp_path / "a.ckpt"
        )
    assert not (tmp_path / "a.ckpt").exists()
    claim.release()


def test_the_environment_is_not_stored(
    compose_train: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "hush-hush")
    cfg = compose_train("callbacks=default", "tags=['${oc.env:A_SECRET}']")
    train(cfg)
    (folder,) = tmp_path.glob("logs/train/runs/*")
    stored = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["run_config"]
    assert stored["tags"] == ["${oc.env:A_SECRET}"]
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in written if b"hush-hush" in path.read_bytes()]


def test_what_cannot_be_described_stops_no_run(
    compose_train: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(describe, "version", fail)
    train(compose_train("+trainer.fast_dev_run=true"))
    (folder,) = tmp_path.glob("logs/train/runs/*")
    assert read_run(folder)["status"] == "finished"
    assert read_run(folder)["environment"] is None
