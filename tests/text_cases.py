"""Tests of texts that run inside a bake: tests/test_own_data.py copies them there."""

from pathlib import Path

import pytest
import torch

from src.data.text_corpora import read_records
from src.data.text_datamodule import TextDataModule
from src.data.tokenizers import HashedWords


def test_an_export_has_texts_of_any_length(tmp_path: Path) -> None:
    rows = [f"a {word} one,{word}" for word in ("good", "bad")] * 20
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]))
    datamodule = TextDataModule(HashedWords(100, 9), path=str(tmp_path / "texts.csv"))
    datamodule.setup()
    batch = next(iter(datamodule.val_dataloader()))
    assert batch[0]["input_ids"].shape == (4, 3)
    inputs, labels = datamodule.on_after_batch_transfer(batch, 0)
    assert {numbers.shape for numbers in inputs.values()} == {(4, 9)}
    assert inputs["attention_mask"].sum(dim=1).tolist() == [3] * 4
    assert torch.equal(labels, batch[1])
    assert datamodule.state_dict() == {
        "class_names": ["bad", "good"],
        "vocab_size": 100,
        "max_length": 9,
    }


def test_an_open_quotation_mark_loses_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text('text,label\na,x\n"b\nc",y\n"d ""e""",x', "utf-8")
    assert [row["text"] for row in read_records(str(path))] == ["a", "b\nc", 'd "e"']
    path.write_text('text,label\na,x\n"b,y\nc,x\n', "utf-8")
    with pytest.raises(ValueError, match="row 2: a quotation mark has no end"):
        read_records(str(path))


def test_an_empty_file_has_no_texts_to_predict(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    datamodule = TextDataModule(HashedWords(), path="gone.csv")
    assert datamodule.prediction_dataset(str(tmp_path / "empty.txt")).names == []
