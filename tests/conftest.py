"""Bake projects, and run commands in them as their owner would."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

# Where it is set, each of a hundred processes would compile torch, Lightning and MLflow anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

TEMPLATE = Path(__file__).parents[1]
FOLDER = TEMPLATE / "<<cookiecutter.project_slug>>"
FULL = bool(os.environ.get("FULL"))  # what takes long is tested as well
HAS_GPU = shutil.which("nvidia-smi") is not None

Bake = Callable[..., Path]


@pytest.fixture
def bake(tmp_path: Path) -> Bake:
    """Return a function that bakes a project with the answers given, and returns its folder."""

    def bake_with(**answers: str) -> Path:
        return Path(
            cookiecutter(
                str(TEMPLATE),
                no_input=True,
                extra_context=answers,
                output_dir=str(tmp_path),
                overwrite_if_exists=True,
                default_config=True,
            )
        )

    return bake_with


class Project:
    """A baked project, or a copy of the template, with an environment of its own.

    Args:
        folder: where it lies.
        told: what was printed when it was baked.
    """

    def __init__(self, folder: Path, told: str) -> None:
        self.folder = folder
        self.told = told

    @property
    def next_steps(self) -> list[str]:
        """The commands that were printed as the next steps, but for `cd`."""
        enter, *commands = re.findall(r"^    (\S.*)$", self.told, re.MULTILINE)
        assert enter == f"cd {self.folder.name}"
        return commands

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the project; fail the test with its output if it fails."""
        outside = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=outside | environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        return result


def prepared(output_dir: Path, **answers: str) -> Project:
    """Bake a project into a git repository, and let `setup` make its environment."""
    assert shutil.which("uv"), "uv is on the path: `make test` sees to it"
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--default-config"]
    told = subprocess.run(
        [*command, "--output-dir", output_dir, TEMPLATE, *(f"{k}={v}" for k, v in answers.items())],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    project = Project(output_dir / "my_ml_project", told)
    project.run("git init --quiet && git add --all && make setup")
    return project


def tracked(folder: Path) -> list[str]:
    """Return the relative paths of a folder's files, as git would commit them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    return [path for path in listed.split("\0") if path and (folder / path).exists()]


def copy_template(folder: Path) -> None:
    """Copy the template as it lies here into a git repository of its own."""
    for path in tracked(TEMPLATE):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TEMPLATE / path, folder / path)
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    for command in (["init", "-b", "main"], ["add", "--all"], [*identity, "commit", "-m", "v1"]):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return the default project."""
    return prepared(tmp_path_factory.mktemp("default"))


@pytest.fixture(scope="session")
def bare_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return the project without examples."""
    return prepared(tmp_path_factory.mktemp("bare"), starting_point="bare")
