"""What the documents say is there, and the commands in them are taken by the project."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import FOLDER, TEMPLATE, Project

DOCUMENTS = sorted(
    [*TEMPLATE.glob("*.md"), *TEMPLATE.glob("docs/*.md"), *TEMPLATE.glob("benchmarks/*.md")]
)
COMMAND = re.compile(r"^(?:uv run )?(python src/(?:train|eval)\.py\b[^#\n]*)", re.MULTILINE)
READMES = [TEMPLATE / "README.md", FOLDER / "README.md"]
SHORT = " ".join(
    [
        *("trainer.max_epochs=1", "trainer.min_epochs=1", "+trainer.limit_train_batches=2"),
        *("+trainer.limit_val_batches=2", "+trainer.limit_test_batches=2"),
    ]
)
UNSUITABLE = re.compile(
    r"data=fashion|data=my_|[|&;$<>`]|PATH|\bID\b|NAME|\.\.\.|ckpt_path=|init_from=| --"
)


def commands(documents: Sequence[Path]) -> list[str]:
    """Return the runs that documents show in code blocks, but for those with words to fill in."""
    found = set()
    for path in documents:
        for block in re.findall(r"^```\w*\n(.*?)^```", path.read_text("utf-8"), re.M | re.S):
            lines = re.sub(r"\\\n\s*", "", block)
            found |= {line.strip() for line in COMMAND.findall(lines)}
    return sorted(line for line in found if not UNSUITABLE.search(line))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in link:
            assert (path.parent / link).exists(), f"{path.name} links to {link}"


def test_runs_in_documents_compose(project: Project) -> None:
    for line in commands([*DOCUMENTS, *READMES]):
        first_job = re.sub(r"=([^\s,()\[\]]+),\S+", r"=\1", line.replace(" -m ", " "))
        if "(" not in first_job:  # of range, choice and glob
            project.run(f"uv run {first_job} --cfg job")


def test_runs_in_the_readmes_run(project: Project) -> None:
    lines = commands(READMES)
    assert "python src/train.py experiment=mon_experience" in lines
    for line in lines:
        if "accelerator=gpu" not in line:
            project.run(f"uv run {line} {SHORT}", OMP_NUM_THREADS="1")
