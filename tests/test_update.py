"""A project follows its template: cruft brings changes in and keeps the owner's own.

The commands are those of README.md and docs/updating.md, as they stand there.
"""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

from tests.conftest import FOLDER, TEMPLATE, copy_template, printed_steps, run

MACHINERY = "src/runtime/project.py"
EXPERIMENT = "configs/experiment/mon_experience.yaml"  # the owner's, once it is baked
SOURCES = {
    MACHINERY: f"{FOLDER.name}/{MACHINERY}",
    EXPERIMENT: f"{FOLDER.name}/starting_points/mnist/{EXPERIMENT}",
}
Shell = Callable[[Path, str], str]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Return a function that runs a command in a folder, as a git user, and returns its output."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.com")
    return lambda folder, command: run(folder, command).stdout


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """Return a git repository of the template as it stands, as if it had been released."""
    folder = tmp_path / "template"
    copy_template(folder)
    return folder


def documented(verb: str, document: str = "README.md") -> str:
    """Return the command of cruft that a document shows."""
    command = re.search(rf"^uvx (cruft {verb}\b[^#\n]*)", (TEMPLATE / document).read_text(), re.M)
    assert command, f"{document} shows no `uvx cruft {verb}`"
    return command[1].strip()


@pytest.fixture
def project(tmp_path: Path, released: Path, shell: Shell) -> Path:
    """Return a project that the README's command baked, committed as its next steps say."""
    create = documented("create").replace("PATH_OR_URL", str(released))
    printed = shell(tmp_path, f"yes '' | {create}")  # Enter, at each question
    folder = tmp_path / "my_ml_project"
    for step in printed_steps(printed):
        if step.startswith("git "):
            shell(folder, step)
    return folder


def change(path: Path, before: str = "", after: str = "") -> None:
    """Put text before and after what a file holds."""
    path.write_text(before + path.read_text(encoding="utf-8") + after, encoding="utf-8")


def test_update_keeps_the_owners_changes(project: Path, released: Path, shell: Shell) -> None:
    assert "up to date" in shell(project, documented("check", "docs/updating.md"))
    change(project / "README.md", after="\nMine.\n")
    change(project / EXPERIMENT, after="\n# Mine.\n")
    (project / "configs/experiment/mine.yaml").write_text("# @package _global_\nseed: 1\n")
    shell(project, "git add --all && git commit --quiet -m mine")
    assert "-Mine." in shell(project, documented("diff", "docs/updating.md"))

    change(released / SOURCES[MACHINERY], after="\n# of the next release\n")
    change(released / SOURCES[EXPERIMENT], before="# of the next release\n")
    shell(released, "git commit --quiet -am v2")
    shell(project, documented("update"))

    assert (project / MACHINERY).read_text().endswith("# of the next release\n")
    experiment = (project / EXPERIMENT).read_text(encoding="utf-8")
    assert experiment.startswith("# of the next release\n")
    assert experiment.endswith("\n# Mine.\n")
    assert (project / "README.md").read_text(encoding="utf-8").endswith("\nMine.\n")
    assert (project / "configs/experiment/mine.yaml").exists()
    assert not list(project.rglob("*.rej"))
    assert "<<<<<<<" not in experiment
    assert "up to date" in shell(project, documented("check", "docs/updating.md"))


def test_a_conflict_is_marked(project: Path, released: Path, shell: Shell) -> None:
    for path, text in (
        (project / EXPERIMENT, "mine"),
        (released / SOURCES[EXPERIMENT], "of the next release"),
    ):
        change(path, before=f"# {text}\n")
        shell(path.parent, f"git commit --quiet -am '{text}'")
    shell(project, documented("update"))
    text = (project / EXPERIMENT).read_text(encoding="utf-8")
    assert "<<<<<<<" in text or (project / f"{EXPERIMENT}.rej").exists()
    assert "# mine\n" in text


def test_what_was_deleted_stays_deleted(project: Path, released: Path, shell: Shell) -> None:
    shell(project, f"git rm --quiet {EXPERIMENT} && git commit --quiet -m 'not mine'")
    change(released / SOURCES[MACHINERY], after="\n# of the next release\n")
    shell(released, "git commit --quiet -am v2")
    shell(project, documented("update"))
    assert not (project / EXPERIMENT).exists()


def test_a_project_that_cookiecutter_baked_is_linked(
    tmp_path: Path, released: Path, shell: Shell
) -> None:
    project = Path(cookiecutter(str(released), no_input=True, output_dir=str(tmp_path)))
    link = documented("link", "docs/updating.md").replace("PATH_OR_URL", str(released))
    shell(project, f"yes '' | {link}")
    assert "up to date" in shell(project, "cruft check")


def test_replay_bakes_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = tmp_path / "config.yaml"
    config.write_text(f"replay_dir: {tmp_path / 'replay'}\n")
    answers = {"project_name": "Other Name", "license": "GPL-3.0", "starting_point": "bare"}
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
