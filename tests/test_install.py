"""Installing: with a stock pip, extras one after the other, and the container's commands."""

import re
import sys
from pathlib import Path

import pytest

from tests.conftest import FOLDER, Bake, run
from tests.documents import commands

pytestmark = pytest.mark.slow  # each downloads or links gigabytes
IMPORTS = {
    "export": "onnx, onnxscript, onnxruntime",
    "mlflow": "mlflow",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "optuna": "optuna",
    "joblib": "hydra_plugins.hydra_joblib_launcher.joblib_launcher",
    "submitit": "hydra_plugins.hydra_submitit_launcher.submitit_launcher",
    "text": "transformers, peft",
}


def test_the_readmes_lines_for_pip_work_with_the_pip_of_a_new_environment(bake: Bake) -> None:
    lines = [
        line for line in commands(FOLDER / "README.md") if re.match("python -m venv|pip", line)
    ]
    assert len(lines) == 3
    stock = Path(sys.base_prefix) / "bin"  # not of a virtual environment, whose pip may be newer
    script = " && ".join([f"PATH={stock}:$PATH", *lines, "python src/train.py --help"])
    assert "experiment" in run(bake(), script).stdout


@pytest.mark.parametrize("starting_point", ["bare", "text"])
def test_extras_that_are_added_one_after_the_other_stay(bake: Bake, starting_point: str) -> None:
    folder = bake(starting_point=starting_point, default_logger="none")
    run(folder, "uv sync --quiet")
    extras = re.findall(r"^(\w+) = \[", (folder / "pyproject.toml").read_text(), re.MULTILINE)
    extras = [name for name in extras if name in IMPORTS]
    assert set(IMPORTS) - set(extras) <= {"text"}
    for name in extras:
        run(folder, f'uv pip install --quiet -e ".[{name}]"')
    for name in extras:
        run(folder, f'uv run python -c "import {IMPORTS[name]}"')
    run(folder, f'make setup && .venv/bin/python -c "import {IMPORTS[extras[0]]}"')


def test_the_container_installs_the_locked_versions(bake: Bake) -> None:
    folder = bake()
    dockerfile = (folder / "Dockerfile").read_text("utf-8")
    instruction = re.search(
        r"^RUN --mount\S+ \\\n(.*?[^\\])\n", dockerfile, re.MULTILINE | re.DOTALL
    )
    assert instruction
    assert "uv export" in instruction[1]
    script = re.sub(r"\\\n", "", instruction[1])
    run(folder, "uv lock --quiet && uv venv --quiet .venv")
    lock = (folder / "uv.lock").read_text("utf-8")
    torch = re.search(r'name = "torch"\nversion = "([^"]+)"', lock)
    assert torch
    script = script.replace("uv pip install", "uv pip install --quiet")
    run(folder, f"set -u; {script}")
    assert f"torch=={torch[1]}" in run(folder, "uv pip freeze").stdout
    version = torch[1].split(".")
    edited = lock.replace(f'version = "{torch[1]}"', f'version = "{version[0]}.0.0"', 1)
    (folder / "uv.lock").write_text(edited, "utf-8")
    run(folder, f"! ({script})")
