"""The commands of docs/tables.md and docs/texts.md, on files like those that they show."""

import csv
import json
import os
import random
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ENVIRONMENT, TEMPLATE, Bake, run_in_environment
from tests.documents import FENCE, commands

pytestmark = [pytest.mark.environment, pytest.mark.slow]
FIXED = "trainer.accelerator=cpu logger=csv"
TINY_BERT = """
from pathlib import Path
from transformers import BertConfig, BertModel, BertTokenizerFast

letters = "abcdefghijklmnopqrstuvwxyz"
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{x}" for x in letters)]
Path("bert").mkdir()
Path("bert/vocab.txt").write_text("\\n".join(words))
BertTokenizerFast("bert/vocab.txt").save_pretrained("bert")
sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained("bert")
"""


def blocks(document: Path, language: str) -> list[str]:
    """Return the blocks of a language that a document shows."""
    return [
        block for found, block in FENCE.findall(document.read_text("utf-8")) if found == language
    ]


def run_commands(folder: Path, document: str, but_with: str = "training=") -> list[str]:
    """Run the commands of a document that are for every environment; return what they printed."""
    return [
        run_in_environment(folder, f"{line} {FIXED if 'src/train.py' in line else ''} 2>&1")
        for line in commands(folder / document)
        if line.startswith("python src/") and but_with not in line
    ]


def run_script(folder: Path, document: str) -> str:
    """Run the script that a document shows, with its command; return what it printed."""
    (script,) = blocks(folder / document, "python")
    assert "torch" not in script
    (folder / "script.py").write_text(script, "utf-8")
    (line,) = [line for line in commands(folder / document) if " model.onnx " in line]
    return run_in_environment(folder, re.sub(r"\w+\.py", "script.py", line))


def newest_predictions(folder: Path) -> list[dict[str, str]]:
    """Return the rows of the newest file of predictions."""
    found = folder.glob("logs/predict/runs/*/predictions.csv")
    newest = max(found, key=lambda path: path.stat().st_mtime)
    with newest.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def german(number: float, decimals: int = 0) -> str:
    """Return a number with a decimal comma and dots between thousands."""
    return f"{number:,.{decimals}f}".translate(str.maketrans(",.", ".,"))


def flats(count: int) -> list[str]:
    """Return lines of flats in which the town decides most of the rent."""
    generator = random.Random(0)
    lines = []
    for number in range(1, count + 1):
        area, town = generator.uniform(30, 150), generator.choice(["Köln", "Zürich", "Ulm"])
        rent = {"Köln": 11, "Zürich": 25, "Ulm": 9}[town] + generator.gauss(0, 1)
        cells = [
            str(number),
            f"{generator.randint(1, 28):02}.{generator.randint(1, 12):02}.2023",
            german(area, 1),
            str(round(area / 28)),
            town,
            generator.choice(["gas", "oil", ""]),
            german(rent * area * 300),
            german(rent, 2),
        ]
        lines.append(";".join(cells))
    return lines


@pytest.mark.parametrize(
    ("starting_point", "cases"), [("tabular", "table_cases"), ("text", "text_cases")]
)
def test_classes_of_the_starting_point_keep_their_contracts(
    bake: Bake, starting_point: str, cases: str
) -> None:
    folder = bake(starting_point=starting_point)
    shutil.copy(TEMPLATE / f"tests/{cases}.py", folder / f"tests/test_{cases}.py")
    run_in_environment(folder, f"python -m pytest -q -p no:cacheprovider tests/test_{cases}.py")


def test_your_own_table(bake: Bake) -> None:
    folder = bake(starting_point="tabular")
    table, new = blocks(folder / "docs/tables.md", "csv")
    lines = [table.splitlines()[0], *flats(300), ""]
    (folder / "flats.csv").write_text("\n".join(lines), "cp1252")
    (folder / "new.csv").write_text(new, "utf-8")
    trained, reported, _, _, exported = run_commands(folder, "docs/tables.md")
    assert "flats.csv is not UTF-8: it is read as cp1252" in trained
    shown = re.sub(r"\d+ different", r"N different", blocks(folder / "docs/tables.md", "text")[0])
    for line in shown.splitlines():
        assert line in re.sub(r"\d+ different", r"N different", trained)
    assert "finished" in reported
    assert "model.onnx" in exported
    rows = newest_predictions(folder)
    assert [row["name"] for row in rows] == ["row 1", "row 2"]
    assert 9 < float(rows[0]["prediction"]) < 13  # of Köln
    shown = run_script(folder, "docs/tables.md")
    assert float(shown) == pytest.approx(float(rows[0]["prediction"]), rel=1e-4)
    with_gaps = json.dumps({"town": "Atlantis", "area": 99, "rooms": 3, "price": 1_200_000})
    shown = run_in_environment(folder, f"python script.py model.onnx '{with_gaps}'")
    assert float(shown) == pytest.approx(float(rows[1]["prediction"]), rel=1e-4)
    (folder / "new.csv").write_text(
        f"{new}2003;;viel;3;Ulm;;9.000\n2004;;1;1;Ulm;;1;1;1\n\n", "utf-8"
    )
    run_in_environment(folder, "python src/predict.py ckpt_path=best input=new.csv || test $? = 1")
    again = newest_predictions(folder)
    assert again[:2] == rows
    assert [bool(row["error"]) for row in again] == [False, False, True, True]
    assert again[2]["error"].endswith("area is 'viel', not a number")


def write_reviews(folder: Path) -> None:
    """Write reviews with umlauts, gaps and empty lines: as CSV, and the same as JSONL."""
    generator = random.Random(0)
    phrases = {
        "gut": ["Schöne Wohnung, gerne wieder", "Das Frühstück war köstlich"],
        "schlecht": ["Müllgeruch im Flur; nie wieder", "Das Zimmer war ungenießbar"],
    }
    rows = [
        {"review": f"{generator.choice(phrases[opinion])}, Zimmer {number}", "opinion": opinion}
        for number in range(200)
        for opinion in phrases
    ]
    rows.append({"review": "", "opinion": "gut"})
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
        writer.writeheader()
        file.write("\n\n")
        writer.writerows(rows)
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "reviews.jsonl").write_text("\n".join([*lines, "", ""]), "utf-8")


def test_your_own_texts(bake: Bake) -> None:
    folder = bake(starting_point="text")
    write_reviews(folder)
    table, new = (
        blocks(folder / "docs/texts.md", "csv")[0],
        blocks(folder / "docs/texts.md", "text")[0],
    )
    assert (folder / "reviews.csv").read_text("utf-8").splitlines()[0] == table.splitlines()[0]
    (folder / "new.txt").write_text(new, "utf-8")
    trained, reported, _, tested, exported = run_commands(folder, "docs/texts.md")
    assert "1 of 401 rows are left out: no text, or no label" in trained
    assert "finished" in reported
    assert "test/acc 1," in tested
    assert "model.onnx" in exported
    rows = newest_predictions(folder)
    assert [row["prediction"] for row in rows] == ["gut", "schlecht"]
    shown = {
        name: float(x)
        for x, name in map(str.split, run_script(folder, "docs/texts.md").splitlines())
    }
    expected = {name: float(rows[0][f"p_{name}"]) for name in ("gut", "schlecht")}
    assert shown == pytest.approx(expected, abs=0.001)
    jsonl = commands(folder / "docs/texts.md")[0].replace(".csv", ".jsonl")
    trained = run_in_environment(folder, f"{jsonl} {FIXED} 2>&1")
    assert "of 402 rows are left out" in trained
    assert "test/acc 1," in trained


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv makes the environment")
def test_a_pretrained_model_from_a_folder(bake: Bake) -> None:
    folder = bake(starting_point="text")
    write_reviews(folder)
    (folder / "new.txt").write_text("Das Zimmer war schön\n", "utf-8")
    (folder / "tiny_bert.py").write_text(TINY_BERT, "utf-8")
    extras = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    packages = shlex.join(f"--with={name}" for name in extras["optional-dependencies"]["text"])
    of_document = [line for line in commands(folder / "docs/texts.md") if "training=" in line]
    assert len(of_document) == 2
    for line in [
        "python tiny_bert.py",
        *(f"{line.replace('FOLDER', 'bert')} {FIXED} trainer.max_epochs=1" for line in of_document),
        "python src/predict.py ckpt_path=best input=new.txt",
        "python src/export.py ckpt_path=best format=onnx",
    ]:
        run_in_environment(
            folder,
            f"uv run --no-project --active {packages} {line}",
            HF_HUB_OFFLINE="1",
            VIRTUAL_ENV=str(ENVIRONMENT),
            PATH=os.environ["PATH"],
        )
    assert newest_predictions(folder)[0]["prediction"] in ("gut", "schlecht")
    assert list(folder.glob("logs/export/runs/*/model.onnx"))
