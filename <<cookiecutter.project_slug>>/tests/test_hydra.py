"""What Hydra offers works here: each line is typed as a user would."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from src.runtime import hydra_versions, identity
from src.train import train
from tests.command_line import Answer, typed
from tests.conftest import SMALL, Compose

# What is typed, and what the configuration then holds.
OVERRIDES: dict[str, dict[str, Any]] = {
    "data.batch_size=8": {"data.batch_size": 8},
    "+new=1": {"new": 1},
    "++either=1 ++data.batch_size=9": {"either": 1, "data.batch_size": 9},
    "~callbacks.early_stopping": {"callbacks.early_stopping": None},
    "tags=[a,'b c',3]": {"tags": ["a", "b c", "3"]},
    "task_name='key=value=with=equals'": {"task_name": "key=value=with=equals"},
    "+a={b:{c:1},d:[2]}": {"a.b.c": 1, "a.d": [2]},
    "+size=${data.batch_size}": {"size": 64},
    "+user=${oc.env:NAME_OF_A_TEST}": {"user": "Ada"},
    "+year=${now:%Y} +y=${now:%Y}": {},
    "+chosen=${hydra:runtime.choices.data}": {"chosen": "mnist"},
    "data=digits": {"data._target_": "src.data.digits_datamodule.DigitsDataModule"},
    "common/logger@logger=csv": {"logger.csv.name": "csv", "logger.mlflow": None},
    "common/callbacks@callbacks=none": {"callbacks": {}},
    "model/net=cnn model/optimizer=sgd model/scheduler=cosine": {
        "model.net._target_": "src.models.components.simple_cnn.SimpleCNN",
        "model.optimizer._target_": "torch.optim.SGD",
        "model.scheduler._target_": "torch.optim.lr_scheduler.CosineAnnealingLR",
        "model.lr_interval": "epoch",
    },
    "model/scheduler=one_cycle": {"model.lr_interval": "step", "model.lr_frequency": None},
    "model/scheduler=none": {"model.scheduler": None},
    "model/net=resnet18": {"model.net.in_channels": 1},
    "experiment=mon_experience": {"seed": 12345, "trainer.accelerator": "cpu"},
    "experiment=mon_experience seed=7 model/optimizer=adamw": {
        "seed": 7,
        "model.optimizer._target_": "torch.optim.AdamW",
        "model.optimizer.lr": 0.002,
    },
    "experiment=mon_experience common/trainer@trainer=gpu": {"trainer.accelerator": "gpu"},
    "trainer.accelerator=gpu common/trainer@trainer=cpu": {"trainer.accelerator": "gpu"},
    "common/trainer@trainer=cpu": {"trainer.accelerator": "cpu", "trainer.max_epochs": 10},
    "common/trainer@trainer=mps": {"trainer.accelerator": "mps", "trainer.devices": 1},
    "common/trainer@trainer=ddp": {"trainer.strategy": "ddp", "trainer.devices": "auto"},
    "common/trainer@trainer=ddp_sim": {"trainer.accelerator": "cpu", "trainer.devices": 2},
    "common/trainer@trainer=fsdp trainer.accelerator=cpu trainer.devices=2": {
        "trainer.strategy._target_": "src.runtime.process.sharding.ShardedStrategy",
        "trainer.devices": 2,
    },
    "experiment=mon_experience common/debug=limit": {
        "task_name": "debug",
        "model.optimizer.lr": 0.002,
        "trainer.limit_train_batches": 10,
        "logger": None,
    },
    "model=mnist": {"model._target_": "src.models.mnist_module.MNISTLitModule"},
}


def held(cfg: Any, key: str) -> Any:
    """Return what a nested dict holds at a dotted key, None if nothing."""
    for part in key.split("."):
        cfg = cfg.get(part) if isinstance(cfg, dict) else None
    return cfg


@pytest.fixture(scope="module")
def overridden(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """Return what comes of each of OVERRIDES."""
    lines = [re.split(r" (?=\S+=|~)", overrides) for overrides in OVERRIDES]
    answers = typed(tmp_path_factory.mktemp("logs"), lines, NAME_OF_A_TEST="Ada")
    return dict(zip(OVERRIDES, answers, strict=True))


@pytest.mark.parametrize("overrides", OVERRIDES)
def test_an_override_arrives(overridden: dict[str, Answer], overrides: str) -> None:
    answer = overridden[overrides]
    assert answer.code == 0, answer.err
    ((job),) = answer.jobs
    for key, value in OVERRIDES[overrides].items():
        assert held(job["cfg"], key) == value


def test_a_value_is_read_by_attribute_and_by_key(composed: Compose) -> None:
    cfg = composed("data.batch_size=8")
    assert cfg.data.batch_size == cfg["data"]["batch_size"] == 8


def test_a_config_extends_another_of_its_group_and_local_has_the_last_word(tmp_path: Path) -> None:
    files = {
        "data/mine.yaml": "defaults:\n  - mnist\nbatch_size: 7\n",
        "local/default.yaml": "# @package _global_\ntrainer:\n  accelerator: cpu\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    (answer,) = typed(tmp_path, [[f"--config-dir={tmp_path}", "data=mine"]])
    cfg = answer.jobs[0]["cfg"]
    assert cfg["data"]["batch_size"] == 7
    assert cfg["data"]["val_size"] == 5000
    assert cfg["trainer"]["accelerator"] == "cpu"


SWEEPS: dict[str, list[Any]] = {
    "-m model.optimizer.lr=0.1,0.2": [0.1, 0.2],
    "-m model.optimizer.lr=range(1,4)": [1, 2, 3],
    "-m model.optimizer.lr=choice(0.1,0.2)": [0.1, 0.2],
    "hydra.mode=MULTIRUN model.optimizer.lr=0.1,0.2": [0.1, 0.2],
    "-m experiment=glob(mon_*) model.optimizer.lr=0.3": [0.3],
    "-m common/search=lr_grid data.batch_size=8": [0.0005, 0.001, 0.002],
}


@pytest.mark.slow
def test_sweeps_run_a_job_for_each_value(tmp_path: Path) -> None:
    answers = typed(tmp_path, [line.split() for line in SWEEPS])
    for (line, values), answer in zip(SWEEPS.items(), answers, strict=True):
        assert "Error" not in answer.err, line
        assert [job["cfg"]["model"]["optimizer"]["lr"] for job in answer.jobs] == values
        assert len({job["cfg"]["paths"]["output_dir"] for job in answer.jobs}) == len(values)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Answer]]:
    """Return a folder, and what Hydra's own flags and settings answer; runs go to the folder."""
    log_dir = tmp_path_factory.mktemp("logs")
    lines = {
        "cfg job": "--cfg job",
        "cfg hydra": "--cfg hydra",
        "cfg all": "--cfg all",
        "package": "--cfg job --package model.net",
        "resolve": "--cfg job --resolve",
        "info": "--info defaults",
        "help": "--help",
        "hydra help": "--hydra-help seed=1",
        "plain": f"hydra.run.dir={log_dir}/plain",
        "verbose": f"hydra.run.dir={log_dir}/verbose hydra.verbose=true",
        "disabled": f"hydra.run.dir={log_dir}/disabled hydra/job_logging=disabled",
        "chdir": f"hydra.run.dir={log_dir}/chdir hydra.job.chdir=true",
    }
    answers = typed(log_dir, [line.split() for line in lines.values()])
    return log_dir, dict(zip(lines, answers, strict=True))


def test_hydras_flags_answer_without_torch(asked: tuple[Path, dict[str, Answer]]) -> None:
    _, answers = asked
    expected = {
        "cfg job": "max_epochs: 10",
        "cfg hydra": "hydra:",
        "cfg all": "hydra:",
        "package": "lin1_size: 64",
        "resolve": f"data_dir: {identity.PROJECT_ROOT}/data",
        "info": "common/config_base",
    }
    for name, text in expected.items():
        assert answers[name].code == 0, answers[name].err
        assert text in answers[name].out
        assert not answers[name].imported
        assert not answers[name].jobs
    assert "optimizer" not in answers["package"].out


def test_help_is_this_projects_own(asked: tuple[Path, dict[str, Answer]]) -> None:
    text = asked[1]["help"].out
    assert text.count("\npython src/train.py") >= 10
    assert "common/logger@logger=" in text
    assert "plateau" in text
    assert "batch_size: 64" not in text  # what --cfg job is for
    assert not asked[1]["help"].imported
    assert "--experimental-rerun" in asked[1]["hydra help"].out


def test_logging_follows_the_flags(asked: tuple[Path, dict[str, Answer]]) -> None:
    log_dir, answers = asked
    assert "an info message" in answers["plain"].out
    assert "an info message" in (log_dir / "plain" / "train.log").read_text()
    assert "a debug message" not in answers["plain"].out
    assert "a debug message" in answers["verbose"].out
    assert "an info message" not in answers["disabled"].out
    assert len(answers["disabled"].jobs) == 1


def test_a_job_can_work_in_its_own_folder(asked: tuple[Path, dict[str, Answer]]) -> None:
    log_dir, answers = asked
    (job,) = answers["chdir"].jobs
    assert job["folder"] == str(log_dir / "chdir")
    assert job["cfg"]["paths"]["data_dir"] == str(identity.PROJECT_ROOT / "data")


def test_a_run_is_repeated_from_its_pickle(asked: tuple[Path, dict[str, Answer]]) -> None:
    log_dir, answers = asked
    pickle = "/.hydra/config.pickle" if hydra_versions.IS_1_3 else ""
    (rerun,) = typed(log_dir, [["--experimental-rerun", f"{log_dir}/plain{pickle}"]])
    assert rerun.code == 0, rerun.err
    before, after = answers["plain"].jobs[0]["cfg"], rerun.jobs[0]["cfg"]
    del before["sweep_name"], after["sweep_name"]  # means something in a sweep only
    assert after == before


def test_the_environment_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("FROM_THE_FILE=yes\n")
    monkeypatch.setattr(identity, "PROJECT_ROOT", tmp_path)
    monkeypatch.setenv("FROM_THE_FILE", "")
    monkeypatch.delenv("FROM_THE_FILE")
    monkeypatch.setenv("PROJECT_ROOT", "")
    identity.register()
    assert os.environ["FROM_THE_FILE"] == "yes"


@pytest.mark.parametrize("preset", ["default", "fast_dev_run", "limit", "overfit", "profiler"])
def test_debug_presets_run_with_an_experiment(
    composed: Compose, tmp_path: Path, preset: str
) -> None:
    cfg: DictConfig = composed(*SMALL, "experiment=mon_experience", f"common/debug={preset}")
    _, objects = train(cfg)
    trainer = objects["trainer"]
    assert not objects["loggers"]
    assert cfg.model.optimizer.lr == 0.002
    steps = {"default": 4, "fast_dev_run": 1, "limit": 4, "overfit": 3, "profiler": 4}
    assert trainer.num_training_batches == steps[preset]
    assert (preset == "profiler") == bool(list(tmp_path.glob("*profile*")))


def test_the_scheduler_is_told_by_the_configuration(composed: Compose) -> None:
    cfg = composed(*SMALL, "model/scheduler=one_cycle", "+model.lr_frequency=2", "test=false")
    _, objects = train(cfg)
    (told,) = objects["trainer"].lr_scheduler_configs
    assert (told.interval, told.frequency, told.monitor) == ("step", 2, "val/loss")
    assert told.scheduler.state_dict()["total_steps"] == 4  # batches of the one epoch
