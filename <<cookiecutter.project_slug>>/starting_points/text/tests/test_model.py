"""The models for texts: padding, learning, and pretrained ones that are not there."""

from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from src.data.text_datamodule import TextDataModule
from src.data.tokenizers import HashedWords, HuggingFaceTokenizer
from src.models.components.huggingface_classifier import HuggingFaceClassifier
from src.models.components.text_transformer import TextTransformer
from src.models.lit_module import LitModule


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    tokenizer = HashedWords(vocab_size=100, max_length=5)
    net = TextTransformer(vocab_size=100, num_classes=3, max_length=5, width=8, heads=2).eval()
    together = net(**tokenizer(["One, two!", "a b c d e f g", ""]))
    alone = net(**tokenizer(["One, two!"]))
    assert together.shape == (3, 3)
    assert torch.allclose(together[:1], alone, atol=1e-6)
    assert together.isfinite().all()


def test_it_learns(tmp_path: Path) -> None:
    seed_everything(0)
    words = ("good", "pro"), ("bad", "con")
    rows = [f"{i} a {words[i % 2][0]} one,{words[i % 2][1]}\n" for i in range(200)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "".join(rows))
    tokenizer = HashedWords(vocab_size=500, max_length=8)
    model = LitModule(
        net=TextTransformer(500, 2, max_length=8, width=16, depth=1, heads=2),
        loss=torch.nn.CrossEntropyLoss(),
        metrics=MetricCollection({"acc": MulticlassAccuracy(2)}),
        optimizer=partial(torch.optim.AdamW, lr=0.01),
    )
    trainer = Trainer(
        max_epochs=5,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, TextDataModule(tokenizer, path=str(tmp_path / "reviews.csv")))
    assert trainer.callback_metrics["val/acc"] == 1


def test_a_missing_pretrained_model_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"go online once|Install transformers"):
        HuggingFaceTokenizer("no/such-model")
    with pytest.raises(ValueError, match=r"go online once|Install transformers"):
        HuggingFaceClassifier("no/such-model", 2)
