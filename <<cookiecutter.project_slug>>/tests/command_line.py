"""Type many command lines in one process, and see what `src/train.py` makes of each.

`train` itself is replaced by one that notes its configuration: all else is the real thing.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from src.runtime.identity import PROJECT_ROOT

HEAVY = ("lightning", "mlflow", "torch", "torchvision")

DRIVER = """
import contextlib, gc, io, json, logging, os, sys
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf
from src import train
from src.runtime import cli

def note(cfg):
    logging.getLogger("a.library").debug("a debug message")
    logging.getLogger("a.library").info("an info message")
    plain = OmegaConf.to_container(cfg, resolve=True)
    jobs.append({"cfg": plain, "folder": os.getcwd()})
    return {"val/acc": 0.5}, None

gc.disable()  # for so short a life
train.train = note
start = os.getcwd()
answers = []
for arguments in json.loads(sys.stdin.read()):
    GlobalHydra.instance().clear()
    vars(Plugins.instance()).pop("instantiate_launcher", None)  # which a sweep replaces
    os.chdir(start)
    jobs = []
    sys.argv = ["src/train.py", *arguments]
    code = 0
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.run(train.main, "train")
        except SystemExit as stopped:
            code = stopped.code
    imported = [name for name in HEAVY if name in sys.modules]
    answers.append([code, out.getvalue(), err.getvalue(), imported, jobs])
print(json.dumps(answers), flush=True)
os._exit(0)  # else Python collects for seconds what it then leaves to the system anyway
"""


@dataclass
class Answer:
    """What came of a command line."""

    code: int
    out: str
    err: str
    imported: list[str]  # those of HEAVY that were imported by then
    jobs: list[dict[str, Any]]  # `cfg` and `folder` of each job that would have trained


def typed(log_dir: Path, lines: Sequence[Sequence[str]], **environment: str) -> list[Answer]:
    """Return what comes of `python src/train.py ARGUMENTS`, for each list of arguments.

    Two processes share the lines: one types the first half, in order, the other the second.
    """

    def answers(lines: Sequence[Sequence[str]]) -> list[Answer]:
        result = subprocess.run(
            [sys.executable, "-c", DRIVER.replace("HEAVY", repr(HEAVY))],
            cwd=PROJECT_ROOT,
            env=os.environ | environment,
            input=json.dumps([[*line, f"paths.log_dir={log_dir}"] for line in lines]),
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        return [Answer(*answer) for answer in json.loads(result.stdout.splitlines()[-1])]

    half = len(lines) // 2
    with ThreadPoolExecutor() as pool:
        return [*chain.from_iterable(pool.map(answers, (lines[:half], lines[half:])))]
