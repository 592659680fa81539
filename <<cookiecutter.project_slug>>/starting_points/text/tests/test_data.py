"""Texts: files, tokens, checkpoints and lines to predict."""

import json
from pathlib import Path

import pytest
import torch

from src.data.text_corpora import docstrings, read_corpus
from src.data.text_datamodule import TextDataModule
from src.data.tokenizers import HashedWords

ROWS = [
    (f'{i} a "", {("good" if i % 2 else "bad")} one', "pro" if i % 2 else "con") for i in range(60)
]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Return a JSONL file in which one word decides the class."""
    path = tmp_path / "reviews.jsonl"
    path.write_text("".join(json.dumps({"text": t, "label": c}) + "\n" for t, c in ROWS))
    return path


def test_csv_and_jsonl_are_read_alike(reviews: Path, tmp_path: Path) -> None:
    lines = [f'"{text.replace(chr(34), 2 * chr(34))}";{label}\n' for text, label in ROWS]
    (tmp_path / "reviews.csv").write_text("text;label\n" + "".join(lines) + ";pro\n")
    corpus = read_corpus(str(tmp_path / "reviews.csv"), "text", "label")
    assert corpus == read_corpus(str(reviews), "text", "label")
    assert list(zip(*corpus, strict=True)) == ROWS  # the last line has no text


def test_batches_are_padded(reviews: Path) -> None:
    datamodule = TextDataModule(HashedWords(100, max_length=6), path=str(reviews), batch_size=8)
    assert (datamodule.class_names, datamodule.vocab_size) == (["con", "pro"], 100)
    datamodule.setup()
    inputs, labels = next(iter(datamodule.train_dataloader()))
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape == (8, 6)
    assert inputs["input_ids"].max() < 100
    assert labels.shape == (8,)


def test_padding_is_masked() -> None:
    batch = HashedWords(100, max_length=5)(["One, two!", "a b c d e f g", ""])
    assert batch["attention_mask"].sum(dim=1).tolist() == [4, 5, 0]
    alone = HashedWords(100)(["one , TWO !"])
    assert torch.equal(alone["input_ids"], batch["input_ids"][:1, :4])


def test_lines_are_predicted_from_a_checkpoint_alone(reviews: Path, tmp_path: Path) -> None:
    state = TextDataModule(HashedWords(), path=str(reviews)).state_dict()
    (tmp_path / "new.txt").write_text("a good one\n\nbad\n")
    restored = TextDataModule(HashedWords(max_length=6), path="gone.csv")
    restored.load_state_dict(state)
    lines = restored.prediction_dataset(str(tmp_path / "new.txt"))
    assert restored.class_names == ["con", "pro"]
    assert lines.names == ["row 1", "row 2", "row 3"]
    assert lines[0]["attention_mask"].tolist() == [1, 1, 1, 0, 0, 0]
    with pytest.raises(ValueError, match="no text"):
        lines[1]


def test_docstrings_do_not_name_their_package() -> None:
    texts, labels = docstrings(["lightning", "torchmetrics"], per_package=30)
    assert labels == ["lightning"] * 30 + ["torchmetrics"] * 30
    assert len(set(texts)) == 60
    assert not [text for text in texts if "lightning" in text.lower()]


def test_mistakes_are_explained(reviews: Path) -> None:
    with pytest.raises(ValueError, match="no column review, only text, label"):
        read_corpus(str(reviews), "review", "label")
    with pytest.raises(ValueError, match="60 texts have 60 different labels"):
        TextDataModule(HashedWords(), path=str(reviews), label="text").setup()
    with pytest.raises(ValueError, match="nosuchpackage is not installed"):
        docstrings(["nosuchpackage"])
