"""Each bake is small enough to own, and uses public names only."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import STARTING_POINTS
from tests.house import findings, measures, owned_files

# What one person can maintain. To stay below, remove features; do not compress lines.
BUDGETS = {
    "code": 4_200,
    "density": 9.5,
    "runtime": 2_500,
    "runtime_files": 26,
    "tests": 400,
    "longest_file": 300,
    "longest_line": 100,
    "yaml": 50,
    "longest_yaml": 60,
    "beside": 900,
}
LATE_IMPORTS = 10
# Modules whose distribution has another name.
DISTRIBUTIONS = {
    "dotenv": "python-dotenv",
    "hydra": "hydra-core",
    "lightning_utilities": "lightning",
    "PIL": "matplotlib",  # brings Pillow
    "sklearn": "scikit-learn",
    "numpy": "torchmetrics",  # brings it along
    "packaging": "hydra-core",
    "sqlalchemy": "optuna",
    "uvicorn": "mlflow",
    "yaml": "hydra-core",
}
# Imported where they are installed; else the message says what to type.
OPTIONAL = {"pandas", "pyarrow", "safetensors"}


@pytest.mark.parametrize("starting_point", STARTING_POINTS)
def test_a_bake_keeps_its_budgets(bakes: dict[str, Path], starting_point: str) -> None:
    sizes = measures(bakes[starting_point])
    assert {name: size for name, size in sizes.items() if size > BUDGETS[name]} == {}


@pytest.mark.parametrize("starting_point", STARTING_POINTS)
def test_a_bake_uses_public_names_only(bakes: dict[str, Path], starting_point: str) -> None:
    found = findings(bakes[starting_point])
    assert [str(finding) for finding in found if finding.kind != "late"] == []
    assert len([finding for finding in found if finding.kind == "late"]) <= LATE_IMPORTS


@pytest.mark.parametrize("name", ["README.md", "AGENTS.md"])
def test_documents_are_short(bakes: dict[str, Path], name: str) -> None:
    limit = {"README.md": 90, "AGENTS.md": 40}[name]
    for folder in bakes.values():
        assert len((folder / name).read_text("utf-8").splitlines()) <= limit


@pytest.mark.parametrize("starting_point", STARTING_POINTS)
def test_what_is_imported_is_a_dependency(bakes: dict[str, Path], starting_point: str) -> None:
    folder = bakes[starting_point]
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    groups = project["dependency-groups"].values()
    declared = [project["project"]["dependencies"], *extras, *groups]
    distributions = {re.split(r"[^\w-]", line)[0] for lines in declared for line in lines}
    imported: dict[str, str] = {}
    for path in owned_files(folder):
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names = [node.module]
                imported.update({name.split(".")[0]: path.name for name in names})
    for known in OPTIONAL | {"src", "tests", "hydra_plugins"} | sys.stdlib_module_names:
        imported.pop(known, None)
    missing = {
        module: path
        for module, path in imported.items()
        if DISTRIBUTIONS.get(module, module) not in distributions
    }
    assert missing == {}


SAMPLE = """
import json

import torch
from torch._utils import _flatten
from lightning.pytorch import Trainer

torch.manual_seed = None
torch.backends.cudnn.benchmark = True
setattr(Trainer, "fit", print)
dumps = json._default_encoder


class Mine:
    def __init__(self):
        self._own = 1

    def read(self, other):
        from src import late

        return self._own, other._theirs, getattr(other, "_third"), other._target_
"""


def test_the_scan_finds_what_it_should(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/late.py").write_text("x = 1\n")
    (tmp_path / "src/sample.py").write_text(SAMPLE)
    found = [(finding.kind, finding.text) for finding in findings(tmp_path)]
    assert found == [
        ("late", "from src import late"),
        ("private", "from torch._utils: _flatten"),
        ("private", "from torch._utils: _utils"),
        ("private", "json._default_encoder"),
        ("private", "getattr(other, '_third')"),
        ("private", "other._theirs"),
        ("replaced", "torch.manual_seed = ..."),
        ("replaced", "setattr(Trainer, 'fit', print)"),
    ]
