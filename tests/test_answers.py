"""Hostile answers: refused in one line, or written down exactly. None is ever run."""

import tempfile
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cookiecutter.exceptions import FailedHookException, OutputDirExistsException
from cookiecutter.main import cookiecutter
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import TEMPLATE, bake_into, files
from tests.test_bake import parse

GOOD = {
    "project_name": "My ML Project",
    "project_slug": "my_ml_project",
    "description": "About it.",
    "author_name": "Ada Lovelace",
    "author_email": "ada@example.com",
}
BAD_SLUGS = [
    *("my project", "../up", "a/b", "Upper", "1st", "_x", ".hidden", "naïve", "a" * 65),
    *("class", "match", "json", "torch", "scikit_learn", "hydra", "src", "con", "lpt1"),
    *("x\ny", "$(touch pwned)", '"""', "x'", "<< 7 * 7 >>", "{{x}}"),
]
SPICE = [
    *('"', "'", '"""', "\\", "\n", "\r", "\t", "\0", "<<", ">>", "# <%", "{{", "}}", "${HOME}"),
    *("$(touch pwned)", "`touch pwned`", ": ", " #", "%", "- ", "[x]", "&a", "*a", "!!python/x"),
    *("\N{GRINNING FACE}", "\N{HEBREW LETTER ALEF}", "\u202e", "\u2028", "\ud83d", "x" * 10_000),
    *("<< 7 * 7 >>", "<< cookiecutter.__class__ >>", "__import__('os')", "; rm -rf x", "\\N{DASH}"),
]
text = st.lists(st.sampled_from(SPICE) | st.text(max_size=8), min_size=1, max_size=5).map("".join)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the answers that a person types at the prompts; choices take their first option."""
    answers = dict(GOOD)
    monkeypatch.setattr("cookiecutter.prompt.read_user_variable", lambda name, *_: answers[name])
    monkeypatch.setattr(
        "cookiecutter.prompt.read_user_choice", lambda name, options, *_: options[0]
    )
    return answers


@contextmanager
def baked() -> Generator[Path]:
    """Bake into a folder of its own, and remove it afterwards."""
    with tempfile.TemporaryDirectory() as output:
        yield Path(cookiecutter(str(TEMPLATE), output_dir=output, default_config=True))


@pytest.mark.parametrize("slug", BAD_SLUGS)
def test_a_bad_slug_is_refused_in_one_line(
    typed: dict[str, str], capfd: pytest.CaptureFixture[str], slug: str
) -> None:
    typed["project_slug"] = slug
    with pytest.raises(FailedHookException), baked():
        pass
    lines = [line for line in capfd.readouterr().err.splitlines() if "expected" in line]
    assert len(lines) == 1
    assert lines[0].startswith("project_slug: got ")


@pytest.mark.parametrize("slug", ["", "..", "."])
def test_a_folder_that_exists_is_refused(typed: dict[str, str], slug: str) -> None:
    typed["project_slug"] = slug
    with pytest.raises(OutputDirExistsException), baked():
        pass


@pytest.mark.parametrize("slug", ["x", "my_project", "mnist2", "torch_project"])
def test_a_good_slug_is_taken(typed: dict[str, str], slug: str) -> None:
    typed["project_slug"] = slug
    with baked() as folder:
        assert folder.name == slug


hostile = given(st.fixed_dictionaries({key: text for key in GOOD if key != "project_slug"}))


def search(max_examples: int) -> settings:
    """Return hypothesis' settings for this many examples."""
    fixtures = [HealthCheck.function_scoped_fixture]
    return settings(max_examples=max_examples, deadline=None, suppress_health_check=fixtures)


@search(max_examples=20)
@hostile
@example({key: 'Zoë "Z" O\'Neil \\ \N{GRINNING FACE}' for key in ("description", "author_name")})
@example({"project_name": "a: b # c %d {{x}} ${y} [z]"})
def test_a_text_is_refused_in_a_line_or_written_down_exactly(
    typed: dict[str, str], capfd: pytest.CaptureFixture[str], answers: dict[str, str]
) -> None:
    check_texts(typed, capfd, answers)


@pytest.mark.slow
@search(max_examples=2_000)
@hostile
def test_two_thousand_hostile_texts(
    typed: dict[str, str], capfd: pytest.CaptureFixture[str], answers: dict[str, str]
) -> None:
    check_texts(typed, capfd, answers)


def check_texts(
    typed: dict[str, str], capfd: pytest.CaptureFixture[str], answers: dict[str, str]
) -> None:
    """Bake with these answers: they are refused in one line, or the bake holds them exactly."""
    typed.update(GOOD, **answers)
    try:
        with baked() as folder:
            for path in files(folder):
                parse(folder / path)
            project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
            assert project["project"]["description"] == typed["description"]
            assert project["project"]["authors"] == [
                {"name": typed["author_name"], "email": typed["author_email"]}
            ]
            assert typed["author_name"] in (folder / "LICENSE").read_text(encoding="utf-8")
            readme = (folder / "README.md").read_text(encoding="utf-8")
            assert readme.startswith(f"# {typed['project_name']}\n\n{typed['description']}\n")
            assert not list(folder.rglob("pwned"))
    except FailedHookException:
        lines = capfd.readouterr().err.splitlines()
        assert any(", expected " in line for line in lines)


@pytest.mark.parametrize(
    ("project_name", "slug"),
    [
        ("3D Net", "project_3d_net"),
        ("Étude d'été", "etude_d_ete"),
        ("My-ML.Project (v2)", "my_ml_project_v2"),
        ("\N{GRINNING FACE}", "project"),
        ("x" * 200, "x" * 50),
    ],
)
def test_a_valid_slug_is_derived(tmp_path: Path, project_name: str, slug: str) -> None:
    folder = bake_into(tmp_path, project_name=project_name)
    assert folder.name == slug
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["name"] == slug


@pytest.mark.parametrize("question", ["project_name", "description", "author_name"])
def test_a_template_in_an_answer_on_the_command_line_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], question: str
) -> None:
    with pytest.raises(FailedHookException):
        cookiecutter(
            str(TEMPLATE),
            no_input=True,
            extra_context={"project_slug": "x", question: "<< 7 * 7 >>"},
            output_dir=str(tmp_path),
            default_config=True,
        )
    assert f"{question}: got '<< 7 * 7 >>', expected" in capfd.readouterr().err
