"""What baking writes: the right files for each answer, and nothing of the template in them."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import FOLDER, STARTING_POINTS, TEMPLATE, Bake, files, tracked

QUESTIONS = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
CHOICES = [
    (name, value) for name, answer in QUESTIONS.items() if type(answer) is list for value in answer
]
LAYERS = {
    "mnist": ["vision", "mnist"],
    "images": ["vision", "images"],
    **{name: [name] for name in ("tabular", "text", "bare")},
}
CI_FILES = {
    "github": {".github/workflows/ci.yml", ".github/dependabot.yml"},
    "gitlab": {".gitlab-ci.yml"},
    "none": set(),
}


def expected_files(starting_point: str, ci_provider: str) -> set[str]:
    """Return the files that a bake with these answers has."""
    expected = set(CI_FILES[ci_provider])
    for path in tracked(FOLDER):
        folder, _, inner = path.removeprefix("starting_points/").partition("/")
        if path.startswith("starting_points/"):
            if folder in LAYERS[starting_point]:
                expected.add(inner)
        elif "<<" not in path:
            expected.add(path)
    return expected


@pytest.mark.parametrize(("question", "answer"), [("project_name", "My ML Project"), *CHOICES])
def test_each_answer_gives_exactly_its_files(bake: Bake, question: str, answer: str) -> None:
    folder = bake(**{question: answer})
    starting_point = answer if question == "starting_point" else "mnist"
    ci_provider = answer if question == "ci_provider" else "github"
    assert files(folder) == expected_files(starting_point, ci_provider)
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


def test_the_starting_points_are_the_choices() -> None:
    assert tuple(QUESTIONS["starting_point"]) == STARTING_POINTS
    layers = {path.name for path in (FOLDER / "starting_points").iterdir()}
    assert layers == {layer for layers in LAYERS.values() for layer in layers}


@pytest.mark.parametrize("starting_point", STARTING_POINTS)
def test_baking_over_a_bake_changes_nothing(bake: Bake, starting_point: str) -> None:
    folder = bake(starting_point=starting_point)
    before = {path: (folder / path).read_bytes() for path in files(folder)}
    bake(starting_point=starting_point)
    assert {path: (folder / path).read_bytes() for path in files(folder)} == before


def test_runtime_is_the_same_in_every_bake(bakes: dict[str, Path]) -> None:
    for path in files(FOLDER / "src/runtime"):
        original = (FOLDER / "src/runtime" / path).read_bytes()
        assert all(
            (bake / "src/runtime" / path).read_bytes() == original for bake in bakes.values()
        )
    assert len({frozenset(files(bake / "src/runtime")) for bake in bakes.values()}) == 1


def test_names_of_files_belong_to_the_starting_point(bakes: dict[str, Path]) -> None:
    foreign = {
        **dict.fromkeys(("mnist", "images"), r"token|tabular"),
        **dict.fromkeys(("tabular", "text", "bare"), r"image|mnist"),
    }
    for starting_point, folder in bakes.items():
        names = [path for path in files(folder) if path.startswith(("src/", "configs/"))]
        assert not [path for path in names if re.search(foreign[starting_point], path)]


@pytest.mark.parametrize(
    ("name", "spdx", "first_words"),
    [
        ("MIT", "MIT", "MIT License"),
        ("Apache-2.0", "Apache-2.0", "Copyright {year} Ada Lovelace\n\n"),
        ("BSD-3-Clause", "BSD-3-Clause", "BSD 3-Clause License"),
        ("GPL-3.0", "GPL-3.0-or-later", "My ML Project\nCopyright (C) {year} Ada Lovelace"),
        (
            "Proprietary",
            "LicenseRef-Proprietary",
            "Copyright (c) {year} Ada Lovelace. All rights reserved.",
        ),
    ],
)
def test_the_license_is_the_one_chosen(bake: Bake, name: str, spdx: str, first_words: str) -> None:
    folder = bake(license=name, author_name="Ada Lovelace")
    text = (folder / "LICENSE").read_text(encoding="utf-8")
    year = re.search(r"\b20\d\d\b", text)
    assert year
    assert text.startswith(first_words.format(year=year[0]))
    assert "Ada Lovelace" in text
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == spdx


@pytest.mark.parametrize("logger", QUESTIONS["default_logger"])
def test_the_default_logger_is_the_one_chosen_and_comes_along(bake: Bake, logger: str) -> None:
    folder = bake(default_logger=logger)
    train = yaml.safe_load((folder / "configs/train.yaml").read_text(encoding="utf-8"))
    assert {"/common/logger@logger": logger} in train["defaults"]
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = " ".join(tomllib.loads(text)["project"]["dependencies"])
    assert ("mlflow" in dependencies) == (logger in ("mlflow", "many_loggers"))
    assert ("tensorboard" in dependencies) == (logger in ("tensorboard", "many_loggers"))


def test_at_most_nine_questions_each_with_a_label() -> None:
    asked = [name for name in QUESTIONS if not name.startswith("_")]
    assert len(asked) <= 9
    assert set(QUESTIONS["__prompts__"]) == set(asked)
    for name, value in CHOICES:
        assert value in QUESTIONS["__prompts__"][name]


def test_hooks_are_short() -> None:
    hook = (TEMPLATE / "hooks/post_gen_project.py").read_text(encoding="utf-8")
    assert len(hook.splitlines()) < 30


def test_the_first_lock_takes_seconds(bake: Bake) -> None:
    folder = bake()
    subprocess.run(["uv", "lock", "--quiet"], cwd=folder, check=True, timeout=30)
