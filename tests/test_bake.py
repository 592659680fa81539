"""What baking writes: the right files for each answer, and nothing of the template in them."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import FOLDER, TEMPLATE, Bake, tracked

QUESTIONS = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
CHOICES = [
    (name, value) for name, answer in QUESTIONS.items() if type(answer) is list for value in answer
]
CI_FILES = {
    "github": {".github/workflows/ci.yml", ".github/dependabot.yml"},
    "gitlab": {".gitlab-ci.yml"},
    "none": set(),
}
EXAMPLES = ("configs/data/", "configs/model/", "configs/experiment/", "src/data/", "src/models/")
EXAMPLES += ("configs/training/", "configs/specialize/", "tests/")
BARE_FILES = {
    "configs/data/my_data.yaml",
    "configs/experiment/mon_experience.yaml",
    "configs/model/my_model.yaml",
    *(f"configs/model/optimizer/{name}.yaml" for name in ("adam", "adamw", "sgd")),
    *(
        f"configs/model/scheduler/{name}.yaml"
        for name in ("cosine", "none", "one_cycle", "plateau")
    ),
    "src/data/__init__.py",
    "src/data/my_datamodule.py",
    "src/models/__init__.py",
    "src/models/components/__init__.py",
    "src/models/lit_module.py",
    "src/models/my_module.py",
    "tests/conftest.py",
    "tests/test_architecture.py",
    "tests/test_train.py",
}


def files(folder: Path) -> set[str]:
    """Return the relative paths of all files in a folder."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(("question", "answer"), [("project_name", "My ML Project"), *CHOICES])
def test_each_answer_gives_exactly_its_files(bake: Bake, question: str, answer: str) -> None:
    folder = bake(**{question: answer})
    expected = {
        path for path in tracked(FOLDER) if "<<" not in path and not path.startswith("bare/")
    }
    if answer == "bare":
        expected = {path for path in expected if not path.startswith(EXAMPLES)} | BARE_FILES
    provider = answer if question == "ci_provider" else "github"
    assert files(folder) == expected | CI_FILES[provider]
    for path in files(folder):
        content = (folder / path).read_text(encoding="utf-8")
        assert content.strip(), f"{path} is empty"
        assert content.endswith("\n"), f"{path} has no newline at its end"
        assert not re.search(r"<<|# <[%#]|cookiecutter\.", content), f"{path} is half rendered"
        parse(folder / path)


def parse(path: Path) -> None:
    """Parse a file by its suffix; raise what its parser raises."""
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".yaml", ".yml"):
        yaml.safe_load(text)
    elif path.suffix == ".toml":
        tomllib.loads(text)
    elif path.suffix == ".json":
        json.loads(text)
    elif path.suffix == ".py":
        compile(text, path, "exec")


@pytest.mark.parametrize("path", tracked(FOLDER))
def test_the_unrendered_tree_parses(path: str) -> None:
    parse(FOLDER / path)


@pytest.mark.parametrize(
    ("name", "first_words"),
    [
        ("MIT", "MIT License"),
        ("Apache-2.0", "Copyright {year} Ada Lovelace\n\n"),
        ("BSD-3-Clause", "BSD 3-Clause License"),
        ("GPL-3.0", "My ML Project\nCopyright (C) {year} Ada Lovelace"),
        ("Proprietary", "Copyright (c) {year} Ada Lovelace. All rights reserved."),
    ],
)
def test_the_licence_is_the_one_chosen(bake: Bake, name: str, first_words: str) -> None:
    text = (bake(license=name, author_name="Ada Lovelace") / "LICENSE").read_text(encoding="utf-8")
    year = re.search(r"\b20\d\d\b", text)
    assert year
    assert text.startswith(first_words.format(year=year[0]))
    assert "Ada Lovelace" in text


def test_the_default_logger_is_the_one_chosen(bake: Bake) -> None:
    train = yaml.safe_load((bake(default_logger="csv") / "configs/train.yaml").read_text())
    assert {"/common/logger@logger": "csv"} in train["defaults"]


def test_at_most_nine_questions_each_with_a_label() -> None:
    asked = [name for name in QUESTIONS if not name.startswith("_")]
    assert len(asked) <= 9
    assert set(QUESTIONS["__prompts__"]) == set(asked)
    for name, value in CHOICES:
        assert value in QUESTIONS["__prompts__"][name]
