"""Recipes that need packages of their own run, each in an environment made for it."""

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.conftest import ENVIRONMENT, bake_into, run_in_environment
from tests.documents import commands, shown_files

RECIPES = "docs/recipes.md"
INSTALL = "uv pip install "
FIXED = ("logger=csv", "trainer.accelerator=cpu", "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bake with the files of all recipes."""
    folder = bake_into(tmp_path_factory.mktemp("recipes"), starting_point="bare")
    for path, text in shown_files(folder / RECIPES).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    return folder


def packages_beside(folder: Path, word: str) -> list[str]:
    """Return the packages that the recipes install by the command that holds a word."""
    line = next(c for c in commands(folder / RECIPES) if c.startswith(INSTALL) and word in c)
    return shlex.split(line.removeprefix(INSTALL))


def run_recipe(folder: Path, key: str, packages: list[str], *fixed: str) -> str:
    """Run the commands of the recipes that hold `key`, with these packages besides."""
    outputs = []
    for line in commands(folder / RECIPES):
        if key not in line or not line.startswith("python "):
            continue
        further = shlex.join(f"--with={package}" for package in packages)
        typed = shlex.join(fixed) if "src/train.py" in line else ""
        outputs.append(
            run_in_environment(
                folder,
                f"uv run --no-project --active {further} {line} {typed}",
                RAY_ENABLE_UV_RUN_RUNTIME_ENV="0",  # its workers use this environment as it is
                VIRTUAL_ENV=str(ENVIRONMENT),
                PATH=os.environ["PATH"],
            )
        )
    assert outputs
    return outputs[-1]


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("uv") is None, reason="uv makes the environments"),
]


def test_streaming(folder: Path) -> None:
    packages = packages_beside(folder, "litdata")
    run_recipe(folder, "write_shards", packages)
    assert "finished, 1 epochs" in run_recipe(folder, "data=streaming", packages, *FIXED)


def test_sharded_model(folder: Path) -> None:
    found = run_recipe(folder, "trainer=fsdp2", [], *FIXED, "trainer.devices=2")
    assert "finished, 1 epochs" in found


def test_ray(folder: Path) -> None:
    packages = packages_beside(folder, "hydra-ray-launcher")
    run_recipe(folder, "launcher=ray", packages, *FIXED, "sweep_name=ray")
    assert len(list(folder.glob("logs/train/multiruns/ray/*/csv/version_0/metrics.csv"))) == 2


def test_ax(folder: Path) -> None:
    packages = packages_beside(folder, "hydra-ax-sweeper")
    found = run_recipe(folder, "sweeper=ax", packages, *FIXED, "sweep_name=ax")
    assert len(list(folder.glob("logs/train/multiruns/ax/*/csv/version_0/metrics.csv"))) == 2
    assert re.search(r"Best: .*/multiruns/ax/[01]$", found, re.MULTILINE)  # the table of the sweep
