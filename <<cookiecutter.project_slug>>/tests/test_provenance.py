"""Where a run comes from, as trackers are told: the commit, and what was not committed."""

import subprocess
from pathlib import Path

import pytest

from src.runtime.tracker import provenance

SECRET = "password = 'canary-271828'"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with one commit, at which the module under test looks."""
    monkeypatch.setattr(provenance, "PROJECT_ROOT", tmp_path)
    (tmp_path / "kept.py").write_text("")
    (tmp_path / "changed.py").write_text("")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    git(tmp_path, *identity, "commit", "--quiet", "--message=first")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it prints."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_commit_without_changes(repository: Path) -> None:
    told = provenance.provenance()
    assert told["git/commit"] == git(repository, "rev-parse", "HEAD")
    assert told["git/dirty"] == "false"
    assert told["git/changed_files"] == ""


def test_changes_are_told_by_their_files_names_and_contents_only_if_asked(
    repository: Path,
) -> None:
    (repository / "changed.py").write_text(SECRET)
    (repository / "new file.py").write_text(SECRET)
    told = provenance.provenance()
    assert told["git/dirty"] == "true"
    assert told["git/changed_files"] == 'changed.py, "new file.py"'
    assert SECRET not in str(told)
    assert SECRET in provenance.git_diff()


def test_a_project_without_git_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PROJECT_ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    told = provenance.provenance()
    assert not [name for name in told if name.startswith("git/")]
    assert told.keys() >= {"command", "host", "versions/python", "versions/torch", "versions/cuda"}
    assert provenance.git_diff() == ""
