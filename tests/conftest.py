"""Bake projects, and run commands in them as their owner would.

Bakes share one environment, that of `demo/`: a test that is marked `environment` runs there.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

# Where it is set, each of a hundred processes would compile torch, Lightning and MLflow again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

TEMPLATE = Path(__file__).parents[1]
FOLDER = TEMPLATE / "<<cookiecutter.project_slug>>"
DEMO = TEMPLATE / "demo" / "my_ml_project"
ENVIRONMENT = DEMO / ".venv"
STARTING_POINTS = ("mnist", "images", "tabular", "text", "bare")
# A run of a few batches, on any starting point.
SMALL = " ".join(
    [
        *("trainer.accelerator=cpu", "trainer.max_epochs=1", "trainer.min_epochs=null"),
        *(f"++trainer.limit_{phase}_batches=2" for phase in ("train", "val", "test")),
    ]
)

Bake = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def no_caches() -> None:
    """Remove what editors leave in the unrendered project: cookiecutter would bake it."""
    for name in (".ruff_cache", "__pycache__"):
        for path in FOLDER.rglob(name):
            shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def bake(tmp_path: Path) -> Bake:
    """Return a function that bakes a project with the answers given, and returns its folder."""

    def bake_with(**answers: str) -> Path:
        return bake_into(tmp_path, **answers)

    return bake_with


def bake_into(output_dir: Path, **answers: str) -> Path:
    """Bake a project into a folder, and return the project's own folder."""
    return Path(
        cookiecutter(
            str(TEMPLATE),
            no_input=True,
            extra_context=answers,
            output_dir=str(output_dir),
            overwrite_if_exists=True,
            default_config=True,
        )
    )


def run(folder: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command in a folder; fail the test with its output if it fails."""
    outside = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=outside | environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result


def run_in_environment(folder: Path, command: str, **environment: str) -> str:
    """Run a shell command in a bake, with the environment of demo/; return what it printed."""
    assert ENVIRONMENT.is_dir(), "`make test` makes demo/ first, or `make bake extras`"
    activated = {
        "PATH": f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(ENVIRONMENT),
        "RUN": "",  # of the project's Makefile: no `uv run`
        "OMP_NUM_THREADS": "1",
    }
    return run(folder, command, **activated | environment).stdout


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


def files(folder: Path) -> set[str]:
    """Return the relative paths of all files in a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def bakes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a bake of each starting point, to read."""
    folder = tmp_path_factory.mktemp("bakes")
    return {name: bake_into(folder / name, starting_point=name) for name in STARTING_POINTS}


def printed_steps(output: str) -> list[str]:
    """Return the commands that were printed as the next steps; the first one is `cd`."""
    return re.findall(r"^    (\S.*)$", output, re.MULTILINE)


def bake_on_command_line(output_dir: Path, **answers: str) -> str:
    """Bake with the command `cookiecutter`, and return what it printed."""
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--default-config"]
    command += ["--overwrite-if-exists", "--output-dir", str(output_dir), str(TEMPLATE)]
    command += [f"{question}={answer}" for question, answer in answers.items()]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
