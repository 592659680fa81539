"""What people do with a run besides their own module: notebooks, resolvers, names, precision."""

import json
import logging
import re
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from conftest import SMALL, Command, Compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelSummary
from lightning_cases import (
    Stop,
    checkpoints,
    composed,
    evaluation,
    file_name,
    forget_files,
    run_folder,
    yaml_files,
)
from omegaconf import open_dict

from src.eval import evaluate
from src.resolvers import RESOLVERS
from src.runtime.checkpoint_config import load_model
from src.runtime.overrides import compose
from src.runtime.project import COMPOSE_ARGUMENTS, CONFIGS, prepare_environment
from src.train import train

__all__ = ["yaml_files"]
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("yaml_files")]

ONE_EPOCH = "trainer.max_epochs=1"


# --- what is said ------------------------------------------------------------------------------


def test_what_is_left_out_of_checkpoints_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(composed("additions to the checkpoint", tmp_path))
    (said,) = [record.message for record in caplog.records if "is left out" in record.message]
    assert "tokenizer is left out (Tokenizer is no plain data)" in said
    assert "function is left out (partial is no plain data)" in said
    assert "kind is stored as str" in said
    plain = checkpoints(run_folder(tmp_path))[-1]
    assert torch.equal(plain["epoch_scores"][2], torch.arange(3))
    assert (plain["file"], plain["kind"], plain["took"]) == ("a/b", "red", "0:00:03")
    assert plain["when"].startswith("2026-11-01")


def test_hparams_of_a_checkpoint(tmp_path: Path) -> None:
    train(composed("hparams of everything", tmp_path, ONE_EPOCH))
    plain = checkpoints(run_folder(tmp_path))[-1]
    hparams = plain["hyper_parameters"]
    assert (hparams["lr"], hparams["folder"], hparams["scale"]) == (0.1, "a", 2.0)
    assert (hparams["colour"], hparams["nested"]) == ("red", {"a": [1, 2]})
    assert not {"net", "optimizer", "function"} & set(hparams)
    assert plain["datamodule_hyper_parameters"]["mean"] == 0.5
    model = load_model(run_folder(tmp_path))
    assert model(torch.zeros(1, 8)).shape == (1, 3)


@pytest.mark.parametrize("name", ["no forward", "forward(x, y)", "batches: graph"])
def test_no_picture_is_a_line(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(composed(name, tmp_path, ONE_EPOCH))
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("src.callbacks")]
    assert 1 <= len(lines) <= 2  # of the validation and of the test, or one for all
    assert all(line.startswith("No pictures: ") and "\n" not in line for line in lines)


def test_lazy_layers_are_counted_once_they_have_a_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    train(composed("lazy layers", tmp_path, ONE_EPOCH, "logger=csv"))
    assert re.search(r"model: +Lazy, 51 ", caplog.text)


def test_text_of_users_is_printed_as_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    log_dir = tmp_path / "data [v2] 50% [/b]"
    typed = ['tags=["[/b]","[bold]"]', "+note='[INST] hello [/INST]'", "+pattern='[/a-z]+'"]
    cfg = composed("own loaders", log_dir, ONE_EPOCH, *typed)
    train(cfg)
    folder = run_folder(log_dir)
    assert cfg.note == "[INST] hello [/INST]"
    assert "'[INST] hello [/INST]'" in (folder / "config.yaml").read_text()
    printed = capsys.readouterr().out
    assert f"folder:      {folder}" in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("evaluate:")]
    assert shlex.split(line)[1:] == ["python", "src/eval.py", f"ckpt_path='{folder}'"]


def printed_command(text: str, key: str) -> list[str]:
    """Return the arguments of a printed command, as a shell reads them."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"{key}:")]
    python, script, *arguments = shlex.split(line)[1:]
    assert python == "python"
    return [Path(script).stem, *arguments]


def test_printed_commands_work(
    tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    log_dir = tmp_path / "data [v2] 50%, it's {x}=$y"
    with pytest.raises(Stop):
        train(composed("own loaders", log_dir, stop=True))
    verb, *arguments = printed_command(capsys.readouterr().out, "resume")
    name = file_name("own loaders")  # which the command line would have recorded
    answer = command("data=none", f"model={name}", "logger=none", *arguments, verb=verb)
    assert answer.code == 0, answer.err
    assert len(list(log_dir.glob("train/runs/*"))) == 1
    verb, *arguments = printed_command(answer.out, "evaluate")
    answer = command(*arguments, verb=verb)
    assert answer.code == 0, answer.err
    assert "test_loss" in answer.out


# --- the trainer's own arguments ---------------------------------------------------------------


def test_arguments_of_the_trainer_take_effect_or_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    typed = ["+trainer.logger=false", "+trainer.callbacks=[]", "logger=csv"]
    train(composed("own loaders", tmp_path, ONE_EPOCH, *typed))
    assert "trainer.logger is ignored. Type logger=none" in caplog.text
    assert "trainer.callbacks is ignored. Type callbacks=none" in caplog.text

    for typed, is_there in (("true", True), ("false", False)):
        summary = f"trainer.enable_model_summary={typed}"
        _, objects = train(composed("own loaders", tmp_path / typed, ONE_EPOCH, summary))
        found = [c for c in objects["trainer"].callbacks if isinstance(c, ModelSummary)]
        assert bool(found) == is_there


@pytest.mark.parametrize("logger", ["csv", "none", "mlflow"])
def test_a_module_that_talks_to_its_logger(logger: str, tmp_path: Path) -> None:
    train(composed("metrics of steps and epochs", tmp_path, f"logger={logger}"))
    folder = run_folder(tmp_path)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    own = [row["step"] for row in rows if "own/metric" in row.get("metrics", {})]
    assert own == [3, 6]  # each once
    assert bool(list(folder.rglob("x.png"))) == (logger == "mlflow")


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_mixed_precision_with_clipping(optimizer: str, compose_train: Compose) -> None:
    typed = ("+trainer.precision=bf16-mixed", "trainer.gradient_clip_val=0.5")
    cfg = compose_train(f"model/optimizer={optimizer}", typed[0], "+" + typed[1], "test=false")
    _, objects = train(cfg)
    assert objects["trainer"].global_step == 3


class Numbers(Callback):
    """Note learning rate and weights of each step, and of the end; stop in an epoch."""

    found: list[tuple[float, float]] = []

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, idx: int) -> None:
        if trainer.current_epoch == self.stop_at and idx == 1:
            raise Stop
        self.note(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.note(trainer, pl_module)

    def note(self, trainer: Any, model: torch.nn.Module) -> None:
        weights = sum(float(p.double().sum()) for p in model.parameters())
        Numbers.found.append((trainer.optimizers[0].param_groups[0]["lr"], weights))


def test_a_resume_with_averaged_weights_is_exact(compose_train: Compose) -> None:
    def run(stop_at: int | None, *typed: str) -> Any:
        cfg = compose_train("trainer.max_epochs=4", "seed=1", "callbacks=model_checkpoint", *typed)
        with open_dict(cfg):
            cfg.callbacks.numbers = {"_target_": f"{__name__}.Numbers", "stop_at": stop_at}
            cfg.callbacks.average = {
                "_target_": "lightning.pytorch.callbacks.StochasticWeightAveraging",
                **{"swa_lrs": 0.01, "swa_epoch_start": 1, "annealing_epochs": 2},
            }
        Numbers.found = []
        return train(cfg)[1]

    run(None)
    whole = Numbers.found
    for stop_at in (1, 2, 3):
        with pytest.raises(Stop):
            run(stop_at)
        runs = Path(compose_train().paths.log_dir, "train", "runs").iterdir()
        folder = max(runs, key=lambda path: (path / "run.json").stat().st_mtime_ns)
        run(None, f"ckpt_path='{folder}'")
        assert Numbers.found == whole[-len(Numbers.found) :]


# --- notebooks, resolvers, experiments ---------------------------------------------------------


@pytest.fixture
def no_hydra() -> Iterator[None]:
    yield
    HydraConfig.instance().cfg = None
    GlobalHydra.instance().clear()


def small(log_dir: Path) -> list[str]:
    """What a notebook overrides, as Hydra itself reads it."""
    return [
        *("data=digits", f"paths.log_dir='{log_dir}'", "common/logger@logger=none"),
        *("trainer.max_epochs=1", "+trainer.limit_train_batches=2", "+trainer.limit_val_batches=1"),
    ]


@pytest.mark.parametrize("with_hydra_config", [True, False])
def test_a_notebook(tmp_path: Path, with_hydra_config: bool, no_hydra: None) -> None:
    for number in (1, 2):  # twice in one process
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(CONFIGS), **COMPOSE_ARGUMENTS):
            cfg = hydra.compose(
                "train", overrides=small(tmp_path), return_hydra_config=with_hydra_config
            )
        if with_hydra_config:
            HydraConfig().set_config(cfg)
        metrics, _ = train(cfg)
        assert 0 <= metrics["test/acc"] <= 1
        assert len(list((tmp_path / "train" / "runs").glob("*/run.json"))) == number


def test_a_thread(tmp_path: Path) -> None:
    found: list[dict[str, Any]] = []
    cfg = composed("own loaders", tmp_path, ONE_EPOCH)
    thread = threading.Thread(target=lambda: found.append(train(cfg)[0]))
    thread.start()
    thread.join()
    assert "test_loss" in found[0]
    first = cfg.paths.output_dir
    metrics, _ = train(cfg)  # the same configuration again is a run of its own
    assert "test_loss" in metrics
    assert len(list((tmp_path / "train" / "runs").iterdir())) == 2, first


def test_resolvers_of_the_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RESOLVERS, "tenth", lambda value: value / 10)
    prepare_environment()
    cfg = composed("ordinary", tmp_path, ONE_EPOCH, "+model.lr=${tenth:5}")
    train(cfg)
    folder = run_folder(tmp_path)
    assert checkpoints(folder)[0]["run_config"]["model"]["lr"] == 0.5
    _, objects = evaluate(evaluation(folder, tmp_path))
    assert objects["model"].lr == 0.5


def test_an_experiment_in_a_folder(tmp_path: Path) -> None:
    file = CONFIGS / "experiment" / "lightning_code_team" / "exp1.yaml"
    file.parent.mkdir()
    try:
        file.write_text("# @package _global_\nseed: 7\nmonitor: val_loss\nmode: min\n")
        forget_files()
        cfg = composed("own loaders", tmp_path, "experiment=lightning_code_team/exp1", ONE_EPOCH)
        _, objects = train(cfg)
    finally:
        file.unlink()
        file.parent.rmdir()
        forget_files()
    assert objects["cfg"].seed == 7


def test_the_summary_names_the_checkpoint_and_opens_the_page(
    command: Command, tmp_path: Path
) -> None:
    few = [*SMALL[3:], "data=digits"]
    trained = command("logger=tensorboard", "callbacks=default", "trainer.max_epochs=1", *few)
    assert trained.code == 0, trained.err
    run_dir = run_folder(tmp_path / "logs")
    assert f"tensorboard: python -m tensorboard.main --logdir {run_dir}\n" in trained.out
    assert "batch size:  64 (of all processes and accumulated batches)\n" in trained.out
    tested = command(f"ckpt_path={run_dir}", verb="eval")
    assert tested.code == 0, tested.err
    assert f"checkpoint:  {run_dir}/checkpoints/last.ckpt\n" in tested.out


def test_one_variable_moves_data_and_logs(
    compose_train: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_DIR", str(tmp_path))
    train(compose_train("+trainer.enable_checkpointing=true", "callbacks=default"))
    cfg = compose("train")
    assert [cfg.paths.data_dir, cfg.paths.log_dir] == [f"{tmp_path}/data", f"{tmp_path}/logs"]
    assert load_model("best").net is not None
