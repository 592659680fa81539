"""A project follows its template: cruft brings changes in and keeps the user's own."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

from tests.conftest import TEMPLATE, copy_template

Shell = Callable[[Path, str], str]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Return a function that runs a command in a folder, as a git user, and returns its output."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.com")

    def run(folder: Path, command: str) -> str:
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    return run


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """Return a git repository of the template as it stands, as if it had been released."""
    folder = tmp_path / "template"
    copy_template(folder)
    return folder


def test_update_keeps_the_users_changes(tmp_path: Path, released: Path, shell: Shell) -> None:
    shell(tmp_path, f"cruft create --no-input {released}")
    project = tmp_path / "my_ml_project"
    shell(project, "git init --quiet && git add --all && git commit --quiet -m baked")
    assert "up to date" in shell(project, "cruft check")

    with (project / "README.md").open("a", encoding="utf-8") as file:
        file.write("\nMine.\n")
    (project / "configs/experiment/mine.yaml").write_text("# @package _global_\nseed: 1\n")
    shell(project, "git add --all && git commit --quiet -m mine")
    assert "-Mine." in shell(project, "cruft diff")

    module = released / "<<cookiecutter.project_slug>>/src/runtime/identity.py"
    module.write_text(module.read_text(encoding="utf-8") + "\n# of the next release\n")
    shell(released, "git commit --quiet -am v2")
    shell(project, "cruft update --skip-apply-ask")

    assert (project / "src/runtime/identity.py").read_text().endswith("# of the next release\n")
    assert (project / "README.md").read_text(encoding="utf-8").endswith("\nMine.\n")
    assert (project / "configs/experiment/mine.yaml").exists()
    assert "up to date" in shell(project, "cruft check")


def test_a_conflict_is_marked(tmp_path: Path, released: Path, shell: Shell) -> None:
    shell(tmp_path, f"cruft create --no-input {released}")
    project = tmp_path / "my_ml_project"
    shell(project, "git init --quiet && git add --all && git commit --quiet -m baked")
    for path, text in (
        (project / "configs/data/digits.yaml", "batch_size: 32"),
        (released / "<<cookiecutter.project_slug>>/configs/data/digits.yaml", "batch_size: 128"),
    ):
        path.write_text(path.read_text(encoding="utf-8").replace("batch_size: 64", text))
        shell(path.parent, f"git commit --quiet -am '{text}'")
    shell(project, "cruft update --skip-apply-ask")
    text = (project / "configs/data/digits.yaml").read_text(encoding="utf-8")
    rejected = project / "configs/data/digits.yaml.rej"
    assert "<<<<<<<" in text or rejected.exists()
    assert "batch_size: 32" in text


def test_a_project_that_cookiecutter_baked_is_linked(
    tmp_path: Path, released: Path, shell: Shell
) -> None:
    project = Path(cookiecutter(str(released), no_input=True, output_dir=str(tmp_path)))
    shell(project, f"cruft link --no-input {released}")
    assert "up to date" in shell(project, "cruft check")


def test_replay_bakes_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = tmp_path / "config.yaml"
    config.write_text(f"replay_dir: {tmp_path / 'replay'}\n")
    answers = {"project_name": "Other Name", "license": "GPL-3.0"}
    first = cookiecutter(
        str(TEMPLATE),
        no_input=True,
        extra_context=answers,
        output_dir=str(tmp_path / "a"),
        config_file=str(config),
    )
    second = cookiecutter(
        str(TEMPLATE), replay=True, output_dir=str(tmp_path / "b"), config_file=str(config)
    )
    result = subprocess.run(["diff", "-r", first, second], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
