"""A checkpoint stands alone: what it holds, what is refused, and what can be made of it."""

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import open_dict

from src.eval import evaluate
from src.runtime import cli
from src.runtime.checkpoint import checkpoint_io, checkpoint_paths
from src.runtime.checkpoint.checkpoints import load, load_model
from src.runtime.config import errors
from src.runtime.tracker.journal import write_json
from src.train import train
from tests.conftest import SMALL, Compose

SECRET = "canary-3141592653"


@pytest.fixture
def run_dir(composed: Compose, tmp_path: Path) -> Path:
    """Train for an epoch; return the folder of the run."""
    train(composed(*SMALL, "seed=0", "test=false"))
    return tmp_path


def test_a_checkpoint_holds_the_configuration_and_no_secret(
    composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", SECRET)
    train(composed(*SMALL, "test=false", "+token=${oc.env:CANARY}", "+url=https://${token}@host"))
    path = tmp_path / "checkpoints" / "last.ckpt"
    config = torch.load(path, weights_only=True)["config"]
    assert config["token"] == "${oc.env:CANARY}"
    assert config["data"]["val_size"] == 64
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [file for file in files if SECRET.encode() in file.read_bytes()] == []
    with zipfile.ZipFile(path) as archive:
        assert not [name for name in archive.namelist() if SECRET.encode() in archive.read(name)]


def test_load_model_needs_nothing_but_the_file(run_dir: Path, tmp_path: Path) -> None:
    (best,) = (run_dir / "checkpoints").glob("epoch_*.ckpt")
    moved = tmp_path / "elsewhere" / "a = b's model.ckpt"
    moved.parent.mkdir()
    best.rename(moved)
    model = load_model(moved)
    assert not model.training
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_eval_says_what_overrides_change(
    run_dir: Path, composed: Compose, caplog: pytest.LogCaptureFixture
) -> None:
    evaluate(composed(f"ckpt_path={run_dir}", config_name="eval"))
    assert "in the checkpoint, now" not in caplog.text
    cfg = composed(f"ckpt_path={run_dir}", config_name="eval")
    with open_dict(cfg):
        cfg.data = load(checkpoint_paths.find(str(run_dir), run_dir))["config"]["data"]
        cfg.data.batch_size = 16
    evaluate(cfg)
    assert "data.batch_size: 64 in the checkpoint, now 16" in caplog.text


def test_eval_computes_as_precisely_as_training_did(
    composed: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained, _ = train(composed(*SMALL, "seed=0", "+trainer.precision=bf16-mixed"))
    overrides = (f"ckpt_path={tmp_path}", "+trainer.precision=32")
    same, objects = evaluate(composed(overrides[0], config_name="eval"))
    assert objects["trainer"].precision == "bf16-mixed"
    assert same["test/loss"] == trained["test/loss"]
    assert "trainer.precision" not in caplog.text
    other, _ = evaluate(composed(*overrides, config_name="eval"))
    assert other["test/loss"] != trained["test/loss"]
    assert "trainer.precision: bf16-mixed in the checkpoint, now 32" in caplog.text


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """Call `os.mkdir`."""
        return os.mkdir, (str(self.path),)


def test_weights_of_another_model_are_told_in_a_line(run_dir: Path, composed: Compose) -> None:
    cfg = composed(f"ckpt_path={run_dir}", config_name="eval")
    with open_dict(cfg):
        cfg.model = load(checkpoint_paths.find(str(run_dir), run_dir))["config"]["model"]
        cfg.model.net.lin1_size = 3
    with pytest.raises(RuntimeError) as caught:
        evaluate(cfg)
    assert cli.is_told(caught.value)
    (told,) = errors.explain(caught.value).splitlines()
    assert "net.layers.1.weight: copying a param with shape torch.Size([64, 784])" in told
    assert "init_from=PATH" in told


def test_what_is_no_plain_data_is_refused_and_not_run(tmp_path: Path) -> None:
    path, harm = tmp_path / "x.ckpt", tmp_path / "harm"
    torch.save({"state_dict": {}, "x": Bomb(harm)}, path)
    with pytest.raises(ValueError, match=r"holds more than plain data and is refused.*mkdir"):
        checkpoint_io.read(path)
    assert not harm.exists()


def test_no_damage_passes_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    content = {"state_dict": {"w": torch.randn(1_000)}, "config": {"a": [1, "b"]}}
    checkpoint_io.AtomicCheckpointIO().save_checkpoint(content, path)
    whole = path.read_bytes()
    damaged = [whole[: len(whole) * i // 8] for i in range(8)]
    for i in range(0, len(whole), len(whole) // 64):
        damaged.append(whole[:i] + bytes([whole[i] ^ 2 ** (i % 8)]) + whole[i + 1 :])
    noticed = 0
    for content_now in damaged:
        path.write_bytes(content_now)
        try:
            read = checkpoint_io.read(path)
        except ValueError:
            noticed += 1
        else:  # a bit of padding, which nobody reads
            assert torch.equal(read["state_dict"]["w"], content["state_dict"]["w"])
            assert read["config"] == content["config"]
    assert noticed > len(damaged) // 2


def test_a_failed_write_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    checkpoint_io.AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": 1}}, path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(ValueError, match=r"cannot be written.*No space left"):
        checkpoint_io.AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": 2}}, path)
    assert checkpoint_io.read(path)["state_dict"]["w"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_what_ckpt_path_may_be(run_dir: Path, tmp_path: Path) -> None:
    best = next((run_dir / "checkpoints").glob("epoch_*.ckpt"))
    log_dir = tmp_path / "logs"
    (log_dir / "train" / "runs").mkdir(parents=True)
    listed = log_dir / "train" / "runs" / "one"
    listed.symlink_to(run_dir)
    (run_dir / "mlflow").mkdir()
    write_json(run_dir / "mlflow" / "state.json", {"run_id": "0" * 32})
    assert checkpoint_paths.find(str(best), log_dir) == best
    assert checkpoint_paths.find(str(run_dir), log_dir).samefile(best)
    assert checkpoint_paths.find("best", log_dir).samefile(best)
    assert checkpoint_paths.find("0" * 32, log_dir).samefile(best)
    assert checkpoint_paths.find("last", log_dir).name == "last.ckpt"
    with pytest.raises(ValueError, match="does not exist: give a"):
        checkpoint_paths.find("nothing.ckpt", log_dir)


def test_weights_that_fit_are_taken_over_and_the_others_named(
    run_dir: Path, composed: Compose, caplog: pytest.LogCaptureFixture
) -> None:
    weights = load_model(run_dir).state_dict()
    overrides = (f"init_from={run_dir}", "model.net.lin3_size=16", "train=false", "test=false")
    _, objects = train(composed(*SMALL, *overrides))
    model = objects["model"].state_dict()
    first, last = "net.layers.1.weight", "net.layers.7.weight"
    assert torch.equal(model[first], weights[first])
    assert f"{last} is (64, 128) in the checkpoint but (16, 128) in the model" in caplog.text
    torch.save({"state_dict": {"other": torch.zeros(1)}}, run_dir / "other.ckpt")
    with pytest.raises(ValueError, match="none of its"):
        train(composed(*SMALL, f"init_from={run_dir / 'other.ckpt'}"))


REAL_COMPILER = pytest.param(
    "inductor",
    marks=[
        pytest.mark.slow,
        pytest.mark.skipif(not shutil.which("g++"), reason="torch compiles for the CPU with g++"),
    ],
)


@pytest.mark.parametrize("backend", ["eager", REAL_COMPILER])
@pytest.mark.parametrize("compiled", [True, False])
def test_compiling_leaves_no_trace_in_checkpoints(
    composed: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compiled: bool,
    backend: str,
) -> None:
    compile_net = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda net: compile_net(net, backend=backend))
    train(composed(*SMALL, "test=false", f"model.compile={compiled}"))
    ckpt_path = tmp_path / "checkpoints" / "last.ckpt"
    other = (f"model.compile={not compiled}", f"ckpt_path={ckpt_path}", "trainer.max_epochs=2")
    _, objects = train(composed(*SMALL, "test=false", *other))
    assert objects["trainer"].current_epoch == 2
