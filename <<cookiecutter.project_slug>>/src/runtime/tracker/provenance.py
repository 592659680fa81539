"""Where a run comes from: code, versions, command, machine. Flat, and text throughout."""

import platform
import shlex
import socket
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from src.runtime.identity import PROJECT_ROOT

PACKAGES = ("torch", "lightning", "hydra-core")


def provenance() -> dict[str, str]:
    """Return what a tracker should know of the run's origin, by names such as `git/commit`.

    The names of changed files are in it, their contents are not: those may hold secrets.
    """
    return {
        **_git(),
        "command": shlex.join(sys.orig_argv),
        "host": socket.gethostname(),
        "device": _device(),
        "versions/python": platform.python_version(),
        **{f"versions/{name}": _version(name) for name in PACKAGES},
        "versions/cuda": _cuda(),
    }


def git_diff() -> str:
    """Return what differs from the last commit, or an empty text outside of git."""
    return _git_says(PROJECT_ROOT, "diff", "HEAD") or ""


def _git() -> dict[str, str]:
    commit = _git_says(PROJECT_ROOT, "rev-parse", "HEAD")
    changed = _git_says(PROJECT_ROOT, "status", "--porcelain", "--untracked-files=normal", ".")
    if commit is None or changed is None:
        return {}
    files = [line[3:] for line in changed.splitlines()]
    return {
        "git/commit": commit.strip(),
        "git/dirty": str(bool(files)).lower(),
        "git/changed_files": ", ".join(files),
    }


@cache  # the jobs of a sweep run the code that the process read when the first of them began
def _git_says(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):  # no git here, or a very slow disk
        return None
    return result.stdout if result.returncode == 0 else None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _cuda() -> str:
    import torch

    return torch.version.cuda or "none"


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return platform.processor() or platform.machine()
