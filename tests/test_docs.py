"""What the documents say is there, and their commands run, in a few steps each.

By default those of the two READMEs; `FULL=1 make test` runs those of every document.
"""

import re
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import FOLDER, FULL, TEMPLATE, Project

DOCUMENTS = sorted(
    [*TEMPLATE.glob("*.md"), *TEMPLATE.glob("docs/*.md"), *TEMPLATE.glob("benchmarks/*.md")]
)
READMES = [TEMPLATE / "README.md", FOLDER / "README.md"]
COMMAND = re.compile(r"^(?:uv run )?((?:\w+=\S+ )?python src/\w+\.py\b[^#\n]*)", re.MULTILINE)
SHORT = " ".join(
    [
        *("trainer.max_epochs=1", "trainer.min_epochs=1", "++trainer.limit_train_batches=2"),
        *("++trainer.limit_val_batches=2", "++trainer.limit_test_batches=2"),
    ]
)
ON_TWO_CORES = "trainer.accelerator=cpu trainer.devices=2 ++trainer.sync_batchnorm=false"
# Run elsewhere: completion is tested by driving shells, `last` by killing runs, and the walk in
# your-own-work.md by a test of its own. A GPU is not at hand.
ELSEWHERE = re.compile(r"-sc install|ckpt_path=last|accelerator=gpu|data=fashion|data\.path=")


def commands(path: Path) -> list[str]:
    """Return the commands of the project that a document shows in code blocks, in their order."""
    found = []
    for block in re.findall(r"^```\w*\n(.*?)^```", path.read_text("utf-8"), re.M | re.S):
        found += COMMAND.findall(re.sub(r"\\\n\s*", "", block))
    return [line.strip() for line in found if not ELSEWHERE.search(line)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in link:
            assert (path.parent / link).exists(), f"{path.name} links to {link}"


def made_small(line: str) -> str:
    """Return a command that trains for two steps, on two cores where it asks for many GPUs."""
    if "src/train.py" not in line or " --" in line:
        return line
    many = ON_TWO_CORES if "trainer=ddp" in line else ""
    search = "hydra.sweeper.n_trials=2" if "optuna" in line else ""
    return " ".join([line, SHORT, many, search])


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of pictures to predict."""
    folder = tmp_path_factory.mktemp("pictures")
    for shade in (0, 100, 200):
        Image.new("L", (28, 28), shade).save(folder / f"{shade}.png")
    return folder


@pytest.fixture(scope="session")
def already_run() -> set[str]:
    """Return the commands that an earlier document has shown to run."""
    return set()


@pytest.mark.parametrize(
    "path",
    [*READMES, *(DOCUMENTS if FULL else [])],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_commands_in_documents_run(
    project: Project, pictures: Path, already_run: set[str], path: Path
) -> None:
    project.run("uv sync --quiet --extra optuna --extra export")
    for line in commands(path):
        if line in already_run:
            continue
        already_run.add(line)
        trained = project.folder.glob("logs/train/runs/*/checkpoints/last.ckpt")
        newest = max(trained, key=lambda file: file.stat().st_mtime, default="none yet")
        filled = made_small(line)
        for word, own in (("PATH|X", newest), ("FOLDER|FOLDER_OR_FILE", pictures)):
            filled = re.sub(rf"=({word})\b", f"={own}", filled)
        project.run(f"uv run env {filled}", OMP_NUM_THREADS="1")
    project.run("git clean --force --quiet src configs tests")
