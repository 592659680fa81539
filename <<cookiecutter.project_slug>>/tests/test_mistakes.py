"""A mistake on the command line ends in a line or two that say what to type, and exit code 1."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from src.runtime.identity import PROJECT_ROOT

HEAVY = {"torch", "lightning", "torchvision", "mlflow"}

# What is typed, and what the answer must name: the key, and what to type instead.
MISTAKES = {
    "logger=tensorboard": "common/logger@logger=tensorboard",
    "callbacks=none": "common/callbacks@callbacks=none",
    "trainer=cpu": "common/trainer@trainer=cpu",
    "debug=limit": "common/debug=limit",
    "data=mnits": "Did you mean mnist",
    "model/net=dens": "Did you mean dense",
    "trainer.max_epoch=3": "Did you mean trainer.max_epochs",
    "sead=3": "Did you mean seed",
    "model.net.lin9_size=3": "model.net.lin",
    "+model.net.lin9_size=3": "~model.net.lin9_size",
    "~model.net.lin1_size ++model.net.lin1_siz=3": "did you mean lin1_size",
    "~model.optimizer": "model.optimizer is missing",
    "model.net=3": "model.net=3: expected a node",
    "data._target_=src.data.mnist_datamodule.MNISTDatamodule": "did you mean MNISTDataModule",
    "data._target_=src.data.mnits.MNISTDataModule": "there is no module src.data.mnits",
    "data._target_=os.system": "src/targets.py",
    "seed=abc": "seed=abc",
    "train=maybe": "train=maybe",
    "trainer.max_epochs=ten": "trainer.max_epochs=ten",
    "data.batch_size=many": "data.batch_size=many: expected int",
    "data.data_dir=???": "data.data_dir=VALUE",
    "data.data_dir=${oc.env:NOT_THERE}": "NOT_THERE",
    "experiment=mon_experience experiment=mon_experience": "experiment is chosen twice",
    "experiment=[mon_experience,mon_experience]": "-m experiment=",
    "optimized_metric=val/f1": "optimized_metric=val/f1 is never logged",
    "callbacks.early_stopping.monitor=val/f1": "callbacks.early_stopping.monitor=val/f1",
    "common/logger=csv": "common/logger@logger",
    "+trainer.max_epoch=3": "did you mean max_epochs",
    "model.optimizer.lr=fast": "model.optimizer.lr=fast: expected float",
    "model.optimizer._target_=torch.optim.Adamm": "model.optimizer._target_=torch.optim.Adamm",
}


# Runs many command lines in one process, for speed: `[exit code, stderr, heavy modules]` of each.
DRIVER = """
import contextlib, io, json, sys
from hydra.core.global_hydra import GlobalHydra
from src import train
from src.runtime import cli

answers = []
for arguments in json.loads(sys.argv[1]):
    GlobalHydra.instance().clear()
    sys.argv = ["src/train.py", *arguments]
    code = 0
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        try:
            cli.run(train.main, "train")
        except SystemExit as stopped:
            code = stopped.code
    answers.append([code, stderr.getvalue(), [m for m in HEAVY if m in sys.modules]])
print(json.dumps(answers))
"""


def answers(log_dir: Path, *command_lines: list[str]) -> list[tuple[int, str, list[str]]]:
    """Return what `src/train.py` answers to each command line: code, text, modules imported."""
    lines = [[*arguments, f"paths.log_dir={log_dir}"] for arguments in command_lines]
    script = DRIVER.replace("HEAVY", repr(sorted(HEAVY)))
    command = [sys.executable, "-c", script, json.dumps(lines)]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, list[str]]]:
    """Return the answer to each mistake."""
    lines = [overrides.split() for overrides in MISTAKES]
    found = answers(tmp_path_factory.mktemp("logs"), *lines)
    return dict(zip(MISTAKES, found, strict=True))


@pytest.mark.parametrize("overrides", MISTAKES)
def test_a_mistake_is_told_in_a_line_or_two_without_torch(
    told: dict[str, tuple[int, str, list[str]]], overrides: str
) -> None:
    code, text, heavy = told[overrides]
    assert code == 1
    assert MISTAKES[overrides].lower() in text.lower()
    assert text.startswith("Error: ")
    assert 1 <= len(text.splitlines()) <= 2
    assert not heavy


def test_an_experiment_that_overrides_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /optimizer: adam\n"
    )
    ((code, text, _),) = answers(tmp_path, [f"--config-dir={tmp_path}", "experiment=mine"])
    assert code == 1
    assert "experiment/mine" in text
    assert "optimizer" in text


def modules_imported_by(*arguments: str) -> set[str]:
    """Run `src/train.py` in a process of its own; return the heavy modules that it imported."""
    script = (
        "import runpy, sys\n"
        f"sys.argv = ['src/train.py', *{list(arguments)!r}]\n"
        "try:\n    runpy.run_path('src/train.py', run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        f"sys.stderr.write('IMPORTED ' + ' '.join({HEAVY!r} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    return set(result.stderr.rpartition("IMPORTED ")[2].split())


@pytest.mark.parametrize("question", ["--help", "--cfg=job", "--info=defaults"])
def test_hydras_answers_need_no_torch(question: str) -> None:
    assert modules_imported_by(question) == set()
