"""Texts: read, tokenized, and classified by groups that can be mixed."""

from pathlib import Path

import pytest
import torch

from src.data.text_corpora import csv_file, docstrings
from src.data.tokenizers import HashedWords, HuggingFaceTokenizer
from src.models.components.huggingface_classifier import HuggingFaceClassifier
from src.models.components.text_transformer import TextTransformer
from src.train import train
from tests.conftest import Compose


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Return a CSV file in which one word tells the class."""
    rows = [
        f'{i} a "" {("good" if i % 2 else "bad")} one,{("pro" if i % 2 else "con")}\n'
        for i in range(200)
    ]
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\n" + "".join(rows))
    return path


def test_a_csv_is_trained_on_with_other_groups(composed: Compose, reviews: Path) -> None:
    cfg = composed(
        *("experiment=text", "data/dataset=csv", f"data.dataset.path={reviews}"),
        *("data.num_classes=2", "model.net.width=16", "model.net.depth=1", "model.net.heads=2"),
        *("model/optimizer=adam", "model/scheduler=cosine", "model.optimizer.lr=0.02"),
        *("trainer.max_epochs=3", "common/logger@logger=none", "trainer.accelerator=cpu"),
    )
    metrics, objects = train(cfg)
    assert metrics["test/acc"] == 1
    assert type(objects["trainer"].optimizers[0]) is torch.optim.Adam
    assert objects["datamodule"].class_names == ("con", "pro")  # ty: ignore[missing-attribute]


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    tokenizer = HashedWords(vocab_size=100, max_length=5)
    batch = tokenizer(["One, two!", "a b c d e f g", ""])
    assert batch["attention_mask"].sum(dim=1).tolist() == [4, 5, 1]
    assert torch.equal(tokenizer(["one , TWO !"])["input_ids"], batch["input_ids"][:1, :4])
    net = TextTransformer(vocab_size=100, num_classes=3, max_length=5, width=8, heads=2).eval()
    together, alone = net(**batch), net(**tokenizer(["One, two!"]))
    assert torch.allclose(together[:1], alone, atol=1e-6)
    assert together.isfinite().all()


def test_docstrings_are_alike_every_time_and_do_not_name_their_package() -> None:
    texts, labels = docstrings(["lightning", "torchmetrics"], per_package=30)
    assert (texts, labels) == docstrings(["lightning", "torchmetrics"], per_package=30)
    assert labels == ["lightning"] * 30 + ["torchmetrics"] * 30
    assert len(set(texts)) == 60
    assert not [text for text in texts if "lightning" in text.lower()]


def test_mistakes_are_named(reviews: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="no column review, only text, label"):
        csv_file(str(reviews), text="review")
    with pytest.raises(ValueError, match=r"set data\.dataset\.path"):
        csv_file(f"{reviews}.gone")
    with pytest.raises(ValueError, match="nosuchpackage is not installed"):
        docstrings(["nosuchpackage"])
    with pytest.raises(ValueError, match=r"go online once|uv sync --extra text"):
        HuggingFaceTokenizer("no/such-model")(["a"])
    with pytest.raises(ValueError, match=r"go online once|uv sync --extra text"):
        HuggingFaceClassifier("no/such-model", 2)
