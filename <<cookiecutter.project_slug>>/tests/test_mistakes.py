"""A mistake on the command line ends in a line or two that say what to type, and exit code 1."""

import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from src import train
from src.runtime import cli
from src.runtime.identity import PROJECT_ROOT

HEAVY = {"torch", "lightning", "torchvision", "mlflow"}

# What is typed, and what the answer must name: the key, and what to type instead.
KNOWN_FROM_THE_CONFIGURATION = {
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
}
NEEDS_A_LIBRARY = {
    "+trainer.max_epoch=3": "did you mean max_epochs",
    "model.optimizer.lr=fast": "model.optimizer.lr=fast: expected float",
    "model.optimizer._target_=torch.optim.Adamm": "model.optimizer._target_=torch.optim.Adamm",
}


@pytest.fixture
def told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> cli.Callable[[str], str]:
    """Return a function that runs `src/train.py` with overrides, and returns what it tells."""

    def tell(overrides: str) -> str:
        GlobalHydra.instance().clear()
        arguments = [*overrides.split(), f"paths.log_dir={tmp_path}"]
        monkeypatch.setattr(sys, "argv", ["src/train.py", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.run(train.main, "train")
        assert stopped.value.code == 1
        return capsys.readouterr().err

    return tell


@pytest.mark.parametrize("overrides", KNOWN_FROM_THE_CONFIGURATION | NEEDS_A_LIBRARY)
def test_a_mistake_is_told_in_a_line_or_two(told: cli.Callable[[str], str], overrides: str) -> None:
    text = told(overrides)
    expected = (KNOWN_FROM_THE_CONFIGURATION | NEEDS_A_LIBRARY)[overrides]
    assert expected.lower() in text.lower()
    assert text.startswith("Error: ")
    assert 1 <= len(text.splitlines()) <= 2


def test_an_experiment_that_overrides_nothing_is_named(
    told: cli.Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /optimizer: adam\n"
    )
    text = told(f"--config-dir={tmp_path} experiment=mine")
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


def test_what_the_configuration_tells_is_told_without_torch(tmp_path: Path) -> None:
    log_dir = f"paths.log_dir={tmp_path}"
    script = (
        "import sys\n"
        "from src import train\n"
        "from src.runtime import cli\n"
        "from hydra.core.global_hydra import GlobalHydra\n"
        f"for overrides in {list(KNOWN_FROM_THE_CONFIGURATION)!r}:\n"
        "    GlobalHydra.instance().clear()\n"
        f"    sys.argv = ['src/train.py', *overrides.split(), {log_dir!r}]\n"
        "    try:\n        cli.run(train.main, 'train')\n"
        "    except SystemExit as stopped:\n        assert stopped.code == 1\n"
        f"    assert not {HEAVY!r} & set(sys.modules), overrides\n"
    )
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("question", ["--help", "--cfg=job", "--info=defaults"])
def test_hydras_answers_need_no_torch(question: str) -> None:
    assert modules_imported_by(question) == set()
