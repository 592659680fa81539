"""What people mistype is answered in one line, and works once the advice is followed."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from conftest import Answer, Command
from omegaconf import OmegaConf

from src import train

# What is typed; what the answer holds; what is typed then (the advice), or None where the answer
# lists choices.
BEFORE_HYDRA = [
    # H4: a choice needs no +
    (
        "+experiment=mon_experience",
        "without +: experiment=mon_experience",
        "experiment=mon_experience",
    ),
    ("+data=digits", "without +: data=digits", "data=digits"),
    ("+logger=csv", "without +: common/logger@logger=csv", "common/logger@logger=csv"),
    ("+trainer.max_epochs=1", "without +: trainer.max_epochs=1", "trainer.max_epochs=1"),
    # H1: a key is searched by its end
    ("optimizer.lr=0.1", "Did you mean model.optimizer.lr=0.1?", "model.optimizer.lr=0.1"),
    ("lr=0.1", "Did you mean model.optimizer.lr=0.1?", "model.optimizer.lr=0.1"),
    ("-m lr=0.1,0.2", "Did you mean model.optimizer.lr=0.1,0.2?", "-m model.optimizer.lr=0.1,0.2"),
    ("net=cnn", "Did you mean model/net=cnn?", "model/net=cnn"),
    ("optim=sgd", "Did you mean model/optimizer=sgd?", "model/optimizer=sgd"),
    ("model.net=cnn", "Type model/net=cnn", "model/net=cnn"),
    ("model.net=x", "Type model/net=NAME, one of cnn, dense", None),
    (
        "model/scheduler=none scheduler.gamma=0.1",
        "Did you mean model/scheduler=NAME, one of cos",
        None,
    ),
    ("model.scheduler.gamma=0.1", "takes no gamma. It takes optimizer, mode, factor", None),
    ("sead=3", "Did you mean seed=3?", "seed=3"),
    ("~tagz", "'tagz' does not exist. To see all keys: python src/train.py --cfg", "~tags"),
    ("task=x", "Did you mean task_name=x?", "task_name=x"),
    ("trainner.max_epochs=1", "mean trainer.max_epochs=1?", "trainer.max_epochs=1"),
    # H2: + is advised only where the target takes it
    ("data.pin_memory=false", "takes no pin_memory. It takes data_dir, batch_size", None),
    ("data.train_val_test_split=[1]", "takes no train_val_test_split. It takes", None),
    (
        "model.optimizer.amsgrad=true",
        "+model.optimizer.amsgrad=true",
        "+model.optimizer.amsgrad=true",
    ),
    # H5, H7: names of other templates
    ("dataset=digits", "Did you mean data=digits?", "data=digits"),
    ("hparams_search=lr_grid", "Did you mean search=lr_grid?", "-m search=lr_grid"),
    ("debug=fdr", "Choices: default, fast_dev_run, limit", "debug=limit"),
    ("trainer=default", "Choices: cpu, ddp", "trainer=cpu"),
    ("extras.print_config=false", "python src/train.py --cfg job", None),
    ("paths=default", "paths=default: Cannot assign str", "paths.root_dir=."),
    ("logger=tb", "Choices: csv, many_loggers, mlflow", "logger=csv"),
    ("data=digit", "Did you mean data=digits?", "data=digits"),
    # H6: typed as elsewhere
    ("lr = 0.1", "lr cannot be read. Type KEY=VALUE without blanks", None),
    ("seed= 1", "without blanks", "seed=1"),
    ("data.batch_size=64,", "without a comma at the end", "data.batch_size=64"),
    ("--data.batch_size=64", "without dashes: data.batch_size=64", "data.batch_size=64"),
    ("seed", "seed cannot be read. Type KEY=VALUE", None),
    ("seed=1,2", "add --multirun", "--multirun seed=1,2"),
    ("search=lr_grid", "Type -m", "-m search=lr_grid"),
    # H9: an unknown choice in a sweep
    ("-m model=resnet18,resnet34", "model=resnet18: there is no such file. Choices: mnist", None),
    ("-m data=digits,digit", "Did you mean data=digits?", None),
    ("-m +data=digits,mnist", "without +", None),
    ("-m seed=interval(0,1)", "does not support sweep type", "-m seed=range(0,2)"),
    # values of another type, and what cannot be read
    ("seed=abc", "seed=abc: Value 'abc'", "seed=1"),
    ("tags=word", "tags=word", "tags=[word]"),
    ("trainer.max_epochs=ten", "trainer.max_epochs=ten", "trainer.max_epochs=1"),
    ("train=maybe", "train=maybe", "train=true"),
    ("seed=[1", "cannot be read", None),
    ("'data.data_dir=a (b)'", 'or "KEY=', """"data.data_dir='a (b)'" data=mnist"""),
    ("model=null", "model=none: there is no such file. Choices: mnist", "model=mnist"),
    ("data=3", "data=3: there is no such file", None),
    ("hydra/launcher=joblibb", "'hydra/launcher': basic joblib", None),
    ("hydra.run.dir=README.md/x", "README.md/x", None),
]
IN_THE_JOB = [
    ("mode=maximum", "Type mode=min", "mode=min"),
    ("ckpt_path=missing.ckpt", "ckpt_path=missing.ckpt: ", None),
    ("init_from=missing.ckpt", "init_from=missing.ckpt: ", None),
    (
        "data.num_workers=${nope}",
        "Interpolation key 'nope' not found full_key: data.num_workers",
        None,
    ),
    ("data.num_workers=${oc.env:NOPE}", "Environment variable 'NOPE' not found", None),
    ("+callbacks.mine=3", "callbacks.mine has no _target_", None),
    ("+callbacks.mine.patience=3", "callbacks.mine has no _target_", None),
    # H2: followed blindly, + is refused
    ("+data.pin_memory=false", "takes no pin_memory. It takes", None),
    ("+model.optimizer.beta=3", "mean model.optimizer.betas?", "+model.optimizer.betas=[0.9,0.99]"),
    ("trainer.max_epoch=1", "Did you mean trainer.max_epochs?", "trainer.max_epochs=1"),
    # H3: targets
    ("model.optimizer._target_=nn.Adam", "no module nn. Did you mean torch.optim.Adam?", None),
    ("model.optimizer._target_=torch.optim.Adm", "Did you mean torch.optim.Adam?", None),
    ("model.net._target_=nn.Linear", "no module nn. Did you mean torch.nn.Linear?", None),
    (
        "data._target_=src.data.mnits.MNISTDataModule",
        "no module src.data.mnits. Is it installed",
        None,
    ),
    ("data._target_=nowhere.Data", "no module nowhere. Is it installed?", None),
]
# Accepted: H6, H8, A12
ACCEPTED = {
    "logger=[]": {"logger": {}},
    "logger=null": {"logger": {}},
    "~logger": {"logger": {}},
    "callbacks=null": {"callbacks": {}},
    "data=null": {"data": {}},
    "~data": {"data": {}},
    "experiment=null": {},
    "trainer=null": {},
    "model/scheduler=null": {"model.scheduler": None},
    "common/logger@logger=csv": {"logger.csv._target_": "src.runtime.loggers.CSVLogger"},
    "trainer.strategy=auto": {"trainer.strategy": "auto"},
    "+trainer.strategy=auto": {"trainer.strategy": "auto"},
    "callbacks=[default,early_stopping]": {"callbacks.early_stopping.mode": "max"},
    """tags="['[/b]','[INST] hello [/INST]']\"""": {"tags": ["[/b]", "[INST] hello [/INST]"]},
}


class Typed:
    """Run command lines of `src/train.py` that train nothing."""

    def __init__(self, command: Command, logs: Path) -> None:
        self.command, self.logs = command, logs
        self.configurations: list[Any] = []

    def __call__(self, line: str) -> Answer:
        self.configurations.clear()
        arguments = shlex.split(line)
        if not {"logger", "experiment"} & set(re.findall(r"\w+", line)):
            arguments.insert(0, "logger=none")
        return self.command(*arguments)


@pytest.fixture
def typed(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    typed = Typed(command, tmp_path / "logs")

    def note(cfg: Any) -> tuple[dict[str, float], None]:
        typed.configurations.append(cfg)
        return {"val/acc": 0.5}, None

    monkeypatch.setattr(train, "train", note)
    return typed


@pytest.mark.parametrize(("line", "expected", "advice"), [*BEFORE_HYDRA, *IN_THE_JOB])
def test_a_mistake_is_answered_in_a_line_and_the_advice_works(
    typed: Typed, line: str, expected: str, advice: str | None
) -> None:
    answer = typed(line)
    assert answer.code == 1
    assert answer.err.startswith("Error: ")
    assert len(answer.err.splitlines()) == 1
    assert len(answer.err) < 600
    assert expected in answer.err
    assert not typed.configurations
    if (line, expected, advice) in BEFORE_HYDRA:
        assert not list(typed.logs.rglob("*.log"))
    if advice:
        answer = typed(advice)
        assert (answer.code, answer.err) == (0, "")
        assert typed.configurations


@pytest.mark.parametrize("line", ACCEPTED)
def test_what_can_be_understood_is_accepted(typed: Typed, line: str) -> None:
    answer = typed(line)
    assert (answer.code, answer.err) == (0, "")
    (cfg,) = typed.configurations
    for key, value in ACCEPTED[line].items():
        assert OmegaConf.select(cfg, key) == value
