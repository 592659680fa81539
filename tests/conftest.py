"""Bake projects, and run commands in them as their owner would."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

TEMPLATE = Path(__file__).parents[1]
FOLDER = TEMPLATE / "<<cookiecutter.project_slug>>"

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
    """The baked default project, with an environment of its own."""

    def __init__(self, folder: Path, uv: str) -> None:
        self.folder = folder
        self.uv = uv

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


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return the default project, baked into a git repository, its environment made by `setup`."""
    uv = shutil.which("uv")
    assert uv, "uv is on the path: `make test` sees to it"
    folder = Path(
        cookiecutter(
            str(TEMPLATE),
            no_input=True,
            output_dir=str(tmp_path_factory.mktemp("baked")),
            default_config=True,
        )
    )
    project = Project(folder, uv)
    project.run("git init --quiet && git add --all && make setup")
    return project
