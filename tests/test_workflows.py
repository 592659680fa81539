"""CI files are what their platforms take, and keep to least permissions and pinned actions."""

import subprocess
from pathlib import Path

import pytest

from tests.conftest import TEMPLATE, Bake


def run(*command: str) -> None:
    """Run a linter; fail the test with what it prints."""
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(params=["template", "project"])
def github(request: pytest.FixtureRequest, bake: Bake) -> Path:
    """Return a `.github` folder of each layer."""
    return (TEMPLATE if request.param == "template" else bake(ci_provider="github")) / ".github"


def test_github_workflows_are_valid_and_safe(github: Path) -> None:
    workflows = sorted(str(path) for path in (github / "workflows").glob("*.yml"))
    run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    run("check-jsonschema", "--builtin-schema", "vendor.dependabot", str(github / "dependabot.yml"))
    run("zizmor", "--offline", "--quiet", str(github))


def test_gitlab_ci_is_valid(bake: Bake) -> None:
    path = bake(ci_provider="gitlab") / ".gitlab-ci.yml"
    run("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", str(path))
