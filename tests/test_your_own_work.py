"""The walk in docs/your-own-work.md, as it stands there: each dataset ends in a trained model."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import TEMPLATE, Project

WALK = TEMPLATE / "docs" / "your-own-work.md"


def blocks(heading: str) -> list[str]:
    """Return the code blocks of a section, without their fences."""
    section = WALK.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```\w*\n(.*?)^```", section, re.M | re.S)
    return [re.sub(r"\\\n\s*", "", block).strip() for block in found]


def metric(output: str, name: str) -> float:
    """Return a metric of the table at the end of a run."""
    found = re.search(rf"│ {name}\s+│ (\S+)", output)
    assert found, output
    return float(found[1])


def picture(label: int, random: np.random.Generator) -> np.ndarray:
    """Return a noisy 28x28 image with a bright bar whose place tells the class."""
    image = random.integers(0, 100, (28, 28), dtype=np.uint8)
    image[2 * label : 2 * label + 3] = 255
    return image


@pytest.fixture
def random() -> np.random.Generator:
    """Return the same random numbers each time."""
    return np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    """Return an array in MNIST's format: http://yann.lecun.com/exdb/mnist."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def test_idx_files(project: Project, random: np.random.Generator) -> None:
    folder = project.folder / "data" / "fashion"
    folder.mkdir(parents=True)
    for part, size in (("train", 12_000), ("t10k", 2_000)):
        labels = random.integers(0, 10, size, dtype=np.uint8)
        images = np.stack([picture(label, random) for label in labels])
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(array)))
    generate, imports, load, train = blocks("IDX files")
    project.run(f"uv run {generate}")
    module = project.folder / "src" / "data" / "fashion_datamodule.py"
    text = module.read_text("utf-8").replace("import torch\n", f"{imports}\n\nimport torch\n", 1)
    head, docstring, rest = text.partition('put your own here."""\n')
    body = rest.partition("\n\n")[0]  # of `load`, as it was generated
    mine = "\n".join(f"        {line}" for line in load.splitlines())
    module.write_text(head + docstring + mine + rest.removeprefix(body), "utf-8")
    project.run("uv run ruff check src")
    output = project.run(f"uv run {train} trainer.accelerator=cpu").stdout
    assert metric(output, "test/acc") > 0.5
    project.run("git clean --force --quiet src configs tests")


def test_a_folder_of_pictures(
    project: Project, random: np.random.Generator, tmp_path: Path
) -> None:
    for label, name in enumerate(("ash", "elm", "oak", "yew")):
        (tmp_path / name).mkdir()
        for number in range(60):
            Image.fromarray(picture(3 * label, random)).save(tmp_path / name / f"{number}.png")
    (train,) = blocks("A folder of pictures")
    command = train.replace("data.path=PATH", f"data.path={tmp_path}")
    output = project.run(f"uv run {command} trainer.accelerator=cpu").stdout
    assert metric(output, "test/acc") > 0.3


def test_a_csv_file(project: Project) -> None:
    write = (
        "from sklearn.datasets import load_wine;"
        " load_wine(as_frame=True).frame.to_csv('wine.csv', index=False)"
    )
    project.run(f'uv run python -c "{write}"')
    (train,) = blocks("A CSV file")
    output = project.run(f"uv run {train} trainer.accelerator=cpu").stdout
    assert metric(output, "test/r2") > 0
    (project.folder / "wine.csv").unlink()
