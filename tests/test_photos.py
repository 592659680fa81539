"""The page about photos: its commands, its experiment and its script do what it says."""

import csv
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import TEMPLATE, bake_into, run_in_environment
from tests.documents import FENCE, commands, shown_files
from tests.test_docs import NEEDS_MORE

PAGE = "docs/photos.md"
FAST = "trainer.accelerator=cpu trainer.max_epochs=1 logger=csv"
pytestmark = pytest.mark.environment


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bake with photos and what the page shows, in which its commands have run."""
    folder = bake_into(tmp_path_factory.mktemp("photos"), starting_point="images")
    run_in_environment(folder, f"python {TEMPLATE / 'tests/example_data.py'} photos")
    for path, text in shown_files(folder / PAGE).items():
        (folder / path).write_text(text, "utf-8")
    blocks = FENCE.findall((folder / PAGE).read_text("utf-8"))
    (script,) = [block for language, block in blocks if language == "python"]
    (folder / "classify.py").write_text(script, "utf-8")
    for line in commands(folder / PAGE):
        if not NEEDS_MORE.fullmatch(line):
            run_in_environment(folder, f"{line} {FAST}" if "src/train.py" in line else line)
    return folder


def test_the_script_without_torch_agrees_with_predict(folder: Path) -> None:
    with (folder / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["new/grey.png", "new/photo.jpg", "new/turned.jpg"]
    for row in rows:
        printed = run_in_environment(folder, f"python classify.py model.onnx {row['name']}")
        found = {name: float(text) for text, name in map(str.split, printed.splitlines())}
        expected = {k[2:]: float(text) for k, text in row.items() if k.startswith("p_")}
        assert found == pytest.approx(expected, abs=0.02)
    assert "torch" not in (folder / "classify.py").read_text("utf-8")


def test_broken_files_are_left_out_and_a_damaged_one_is_named(folder: Path) -> None:
    logs = [path.read_text("utf-8") for path in folder.glob("logs/train/runs/*/train.log")]
    assert len(logs) == 3
    for log in logs:
        left_out = "1 of 85 files cannot be read as images: photos/cars/broken.jpg. They are left"
        assert log.count(left_out) == 1
    shutil.copytree(folder / "photos", folder / "damaged")
    for path in (folder / "damaged").glob("*/IMG *.JPG"):
        path.write_bytes(path.read_bytes()[:1500])
    command = f"python src/train.py data.path=damaged {FAST} data.num_workers=2"
    run_in_environment(folder, f"! {command} 2> answer.txt")
    (line,) = re.findall("Error: .*", (folder / "answer.txt").read_text("utf-8"))
    assert re.match(r"Error: damaged/.+/IMG \d+\.JPG cannot be read as an image: repair", line)
    assert "Traceback" not in (folder / "answer.txt").read_text("utf-8")


def test_classes_of_the_starting_point_keep_their_contracts(folder: Path) -> None:
    shutil.copy(TEMPLATE / "tests/photo_cases.py", folder / "tests/test_photo_cases.py")
    run_in_environment(folder, "python -m pytest -q -p no:cacheprovider tests/test_photo_cases.py")
