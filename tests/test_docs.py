"""Every command in the documents is run: here, or by the test named. Their links lead to files."""

import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import (
    FOLDER,
    SMALL,
    STARTING_POINTS,
    TEMPLATE,
    Bake,
    run_in_environment,
    tracked,
)
from tests.documents import broken_links, commands, shown_files

HAS_GPU = shutil.which("nvidia-smi") is not None
TEMPLATE_DOCUMENTS = sorted(
    [*TEMPLATE.glob("*.md"), *TEMPLATE.glob("docs/*.md"), *TEMPLATE.glob("benchmarks/*.md")]
)
# Commands that are run elsewhere: where, and by which words there.
ELSEWHERE = {
    r"make (check|test)": (".ci/run", "make"),
    r"make (slow|faults|lowest|next)": (".github/workflows/ci.yml", "target:"),
    r"make (demo|fix|clean|bake|extras|bench|test-gpu).*": ("tests/test_makefile.py", "make"),
    r"uvx cruft \w+.*": ("tests/test_update.py", "documented("),
    r"PROJECT=demo/my_ml_project .*": ("Makefile", "PROJECT="),
    r"python benchmarks/.*": ("tests/test_benchmarks.py", "benchmarks/"),
    r"uv sync|(uv run )?python src/train.py experiment=mon_experience": (
        "tests/test_next_steps.py",
        "printed_steps",
    ),
    r"python -m venv .*|pip install .*": ("tests/test_install.py", "pip install"),
    r"(cp -R|perl -\wi) .*|python src/train\.py experiment=example .*": (
        "tests/test_other_templates.py",
        "commands(",
    ),
    r"python .*(write_shards|data=streaming|trainer=fsdp2|/launcher=ray|/sweeper=ax).*": (
        "tests/test_recipes.py",
        "run_recipe",
    ),
    r"python src/ui\.py.*": ("tests/machinery", "src/ui.py"),
    r"python src/train\.py ckpt_path=(last|FOLDER)": ("tests/machinery", "ckpt_path=last"),
}
# What a document says besides, on a machine that has it.
NEEDS_MORE = re.compile(
    r"(sbatch|srun|torchrun|docker|mlflow server|eval|autoload|source|export|cd|uv|uvx|pip) .*"
    r"|.*(submitit_slurm|=ray\b|=ax\b|mps|fsdp).*"
    r"|python src/(eval|predict|export)\.py"  # named only: it takes arguments
)
# Values for the placeholders, by starting point; tests/example_data.py writes the files.
OWN_DATA = {
    "mnist": {"PATH|FOLDER": "input"},
    "images": {"PATH": "input", "FOLDER": "own"},
    "tabular": {r"PATH|FILE\.csv": "own.csv", "COLUMN": "target"},
    "text": {r"PATH|FILE\.csv": "own.csv"},
    "bare": {"PATH": "own.csv"},
}
PROJECT_DOCUMENTS = ["README.md", "AGENTS.md"]
PROJECT_DOCUMENTS += sorted(f"docs/{path.name}" for path in FOLDER.glob("docs/*.md"))


def is_run_elsewhere(line: str) -> bool:
    """Return whether another test runs a command."""
    return any(re.fullmatch(pattern, line) for pattern in ELSEWHERE)


@pytest.mark.parametrize("document", TEMPLATE_DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    assert broken_links(document) == []


def test_links_in_bakes_lead_to_files(bakes: dict[str, Path]) -> None:
    for folder in bakes.values():
        for document in [*folder.glob("*.md"), *folder.glob("docs/*.md")]:
            assert broken_links(document) == [], document.name


def test_the_changelog_explains_the_version_of_the_runtime() -> None:
    runtime = (FOLDER / "src/runtime/__init__.py").read_text("utf-8")
    version = re.search(r'^__version__ = "(.+)"$', runtime, re.MULTILINE)
    assert version
    assert f"\n## {version[1]}" in (TEMPLATE / "CHANGELOG.md").read_text("utf-8")
    assert f'\nversion = "{version[1]}"' in (TEMPLATE / "pyproject.toml").read_text("utf-8")


def test_the_readme_is_short() -> None:
    assert len((TEMPLATE / "README.md").read_text("utf-8").splitlines()) <= 110


def test_no_advice_removes_the_extras_that_are_there() -> None:
    for path in tracked(FOLDER):
        exact = re.search(r"uv sync (?!.*--inexact).*--extra", (FOLDER / path).read_text("utf-8"))
        assert not exact, f"{path}: type uv pip install -e '.[NAME]'"


@pytest.mark.parametrize("document", TEMPLATE_DOCUMENTS, ids=lambda path: path.name)
def test_commands_of_the_template_are_run(document: Path) -> None:
    of_a_project = "python src/"  # the project's README shows them too, and they are run there
    shown = [line for line in commands(document) if not line.startswith(of_a_project)]
    assert [line for line in shown if not is_run_elsewhere(line)] == []


@pytest.mark.parametrize(("file", "words"), ELSEWHERE.values())
def test_what_is_run_elsewhere_is_run_there(file: str, words: str) -> None:
    path = TEMPLATE / file
    texts = [p.read_text("utf-8") for p in (path.rglob("*.py") if path.is_dir() else [path])]
    assert any(words in text for text in texts)


def filled(line: str, folder: Path, starting_point: str) -> str:
    """Return a command with real paths for its placeholders, made to train for two batches."""
    runs = folder.glob("logs/train/runs/*/checkpoints/last.ckpt")
    newest = max(runs, key=lambda path: path.stat().st_mtime, default=Path("none-yet/x/x"))
    line = re.sub(r"\b(ckpt_path|init_from)=(PATH|FOLDER)\b", rf"\1={newest.parents[1]}", line)
    line = re.sub(r"\b(ckpt_path|init_from)=FILE(\.ckpt)?", rf"\1={newest}", line)
    line = line.replace("OPTUNA_FILE", "mnist_optuna" if starting_point == "mnist" else "optuna")
    line = re.sub(r"(hydra\.sweeper\.n_trials)=\d+", r"\1=2", line)
    for placeholder, value in OWN_DATA[starting_point].items():
        line = re.sub(rf"(\s\S+)=(?:{placeholder})\b", rf"\1={value}", line)
    line = line.replace("experiment=NAME", "experiment=mon_experience")
    line = line.replace("--nproc-per-node 8", "--nproc-per-node 2").replace(" ...", "")
    if "src/train.py" not in line or re.search(r"\s--|\s-sc", line):
        return line
    small = f"{line} {SMALL}"
    if "optuna" in line and "n_trials" not in line:
        small += " hydra.sweeper.n_trials=2"
    if "trainer=ddp" in line:
        small += " trainer.devices=2 ++trainer.sync_batchnorm=false"
    if re.search(r"(trainer|accelerator)=gpu", line) and not HAS_GPU:  # refused in a few lines
        small = small.replace(SMALL, "")
        return f'error=$({small} 2>&1 >/dev/null); test $? = 1 && test $(wc -l <<<"$error") -lt 5'
    return small


def run_document(folder: Path, name: str, starting_point: str) -> None:
    """Write the files that a document of a bake shows, then run its commands."""
    run_in_environment(folder, f"python {TEMPLATE / 'tests/example_data.py'} {starting_point}")
    for path, text in shown_files(folder / name).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    for line in commands(folder / name):
        if not is_run_elsewhere(line) and not NEEDS_MORE.fullmatch(line):
            run_in_environment(folder, filled(line, folder, starting_point))


@pytest.mark.environment
def test_the_commands_of_the_default_readme_run(bake: Bake) -> None:
    run_document(bake(), "README.md", "mnist")


@pytest.mark.slow
@pytest.mark.parametrize("starting_point", STARTING_POINTS)
@pytest.mark.parametrize("name", PROJECT_DOCUMENTS)
def test_the_commands_of_documents_run(bake: Bake, starting_point: str, name: str) -> None:
    folder = bake(starting_point=starting_point)
    run_document(folder, name, starting_point)
