"""A mistake on the command line ends in a line or two that say what to type, and exit code 1."""

import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hydra.errors import InstantiationException

from src.runtime import cli
from src.runtime.config import errors, extras
from src.runtime.instantiate import instantiate
from tests.command_line import Answer, typed
from tests.conftest import Compose

# What is typed, and what the answer must name: the key, and what to type instead.
MISTAKES = {
    "logger=tensorboard": "common/logger@logger=tensorboard",
    "callbacks=none": "common/callbacks@callbacks=none",
    "trainer=cpu": "common/trainer@trainer=cpu",
    "debug=limit": "common/debug=limit",
    "data=mnits": "Did you mean mnist",
    "model/net=dens": "Did you mean dense",
    "trainer.max_epoch=3": "Did you mean trainer.max_epochs",
    "+model.net.lin9_size=3": "~model.net.lin9_size",
    "~model.optimizer": "model.optimizer is missing",
    "data._target_=src.data.mnist_datamodule.MNISTDatamodule": "did you mean MNISTDataModule",
    "data._target_=os.system": "src/targets.py",
    "seed=abc": "seed=abc",
    "+trainer.precision=17": "trainer.precision=17: expected",
    "experiment=mon_experience,tabular": "-m experiment=mon_experience,tabular",
    "train=maybe": "train=maybe",
    "trainer.max_epochs=ten": "trainer.max_epochs=ten",
    "data.data_dir=???": "data.data_dir=VALUE",
    "ckpt_path=missing.ckpt": "ckpt_path=missing.ckpt does not exist: give a .ckpt file",
    "-m model.optimizer.lr=interval(0.1,1)": "common/search=mnist_optuna",
    "experiment=[mon_experience,mon_experience]": "-m experiment=",
    "optimized_metric=val/f1": "optimized_metric=val/f1 is never logged",
    "model.optimizer._target_=torch.optim.Adamm": "model.optimizer._target_=torch.optim.Adamm",
}
RARER = {
    "sead=3": "Did you mean seed",
    "model.net.lin9_size=3": "model.net.lin",
    "~model.net.lin1_size ++model.net.lin1_siz=3": "did you mean lin1_size",
    "model.net=cnn": "model/net=cnn",
    "data._target_=src.data.mnits.MNISTDataModule": "there is no module src.data.mnits",
    "tags=word": "tags=word",
    "trainer.fast_dev_run=true": "+trainer.fast_dev_run=true",
    "trainer.fast_dev_rum=true": "+trainer.fast_dev_run=true",
    "trainer.accelerator=cpus": "cpu",
    "data.batch_size=many": "data.batch_size=many: expected int",
    "data.data_dir=${oc.env:NOT_THERE}": "data.data_dir: the environment variable NOT_THERE is not",
    "+user=${oc.env:NOT_THERE}": "user: the environment variable NOT_THERE is not set",
    "init_from=missing.ckpt": "init_from=missing.ckpt does not exist",
    "~sead": "did you mean seed",
    "~model.nett": "did you mean model.net",
    "experiment=mon_experience experiment=mon_experience": "experiment is chosen twice",
    "callbacks.early_stopping.monitor=val/f1": "callbacks.early_stopping.monitor=val/f1",
    "common/logger=csv": "common/logger@logger",
    "+trainer.max_epoch=3": "did you mean max_epochs",
    "+callbacks.mine=3": "callbacks.mine=3 is no node with a _target_",
    "model.optimizer.lr=fast": "model.optimizer.lr=fast: expected float",
    "+trainer.precision=half": "or bf16-mixed or",
    "seed=-1": "seed=-1 is not between 0 and",
    "trainer=null": "leave out trainer=null",
    "data=3": "data=3 names no file. Choices: digits,",
    "experiment=null": "experiment=null names no file",
    "data=[mnist,digits]": "-m data=mnist,digits",
    "~data": "data=NAME",
    "=3": "must be a string or a list",
    "-m model.optimizer.lr=range(1,1)": "the sweep has no jobs",
    "-m sweep_name=null": "is no name for a folder",
    "-m common/search=mnist_optuna hydra.sweeper.n_trials=many": "n_trials=many: expected int",
    "common/callbacks@callbacks=[default,nope]": "common/callbacks/nope",
    "hydra.run.dir=README.md/run": "README.md/run: not a directory",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """Return the answer to each mistake."""
    lines = [overrides.split() for overrides in MISTAKES]
    return dict(zip(MISTAKES, typed(tmp_path_factory.mktemp("logs"), lines), strict=True))


def check(answer: Answer, expected: str) -> None:
    """Fail unless a mistake was told in a line or two, with what is expected, before torch."""
    assert answer.code == 1
    assert expected.lower() in answer.err.lower()
    assert answer.err.startswith("Error: ")
    assert 1 <= len(answer.err.splitlines()) <= 2
    assert not answer.imported
    assert not answer.jobs


@pytest.mark.parametrize("overrides", MISTAKES)
def test_a_mistake_is_told_in_a_line_or_two_without_torch(
    told: dict[str, Answer], overrides: str
) -> None:
    check(told[overrides], MISTAKES[overrides])


@pytest.mark.slow
def test_so_is_a_rarer_one(tmp_path: Path) -> None:
    answers = typed(tmp_path, [overrides.split() for overrides in RARER])
    for answer, expected in zip(answers, RARER.values(), strict=True):
        check(answer, expected)


def test_an_experiment_that_overrides_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /optimizer: adam\n"
    )
    (answer,) = typed(tmp_path, [[f"--config-dir={tmp_path}", "experiment=mine"]])
    assert answer.code == 1
    assert "experiment/mine" in answer.err
    assert "optimizer" in answer.err


def test_a_constructor_is_named_that_refuses_its_arguments() -> None:
    with pytest.raises(ValueError, match="max_workers") as caught:
        ThreadPoolExecutor(-1)
    assert errors.explain(caught.value).startswith("ThreadPoolExecutor: max_workers must be")


def test_a_line_is_enough_for_what_this_project_raised_itself() -> None:
    def raised(function: Callable[[], object]) -> BaseException:
        with pytest.raises((OSError, ValueError)) as caught:
            function()
        return caught.value

    def advance() -> None:  # as Lightning's function for a batch is called
        ThreadPoolExecutor(-1)

    assert cli.is_told(raised(lambda: extras.check_export_installed("word")))
    assert cli.is_told(raised(lambda: ThreadPoolExecutor(-1)))  # a constructor refuses its argument
    assert cli.is_told(raised(Path("README.md/file").read_text))
    assert not cli.is_told(raised(advance))  # hours of training may lie before it
    assert not cli.is_told(raised(lambda: int("word")))  # a bug, by the look of it
    assert not cli.is_told(raised(lambda: textwrap.wrap("a word", width=0)))  # in a library
    assert not cli.is_told(RuntimeError())


def test_what_an_object_says_of_its_arguments_is_told_as_it_says_it(composed: Compose) -> None:
    with pytest.raises((InstantiationException, ValueError)) as caught:  # Hydra 1.3, and 1.4
        instantiate(composed("data.offline_fallback=cifar").data)
    told = errors.explain(caught.value).removeprefix("data: ")
    assert told.startswith("offline_fallback=cifar is unknown: set data.offline_fallback")
    assert len(told.splitlines()) <= 2
