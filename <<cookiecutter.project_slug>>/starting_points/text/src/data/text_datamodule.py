"""Text classification: labelled texts and a tokenizer, in padded batches."""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from src.data.split_datamodule import SplitDataModule
from src.data.text_corpora import Corpus, cell, read_corpus, read_records
from src.data.tokenizers import Tokenizer

LabelledText = tuple[str, int]
Batch = tuple[dict[str, Tensor], Tensor]


class LabelledTexts(Dataset[LabelledText]):
    """Texts, each with the number of its class."""

    def __init__(self, texts: Sequence[LabelledText]) -> None:
        self.texts = texts

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.texts)

    def __getitem__(self, index: int) -> LabelledText:
        """Return a text and the number of its class."""
        return self.texts[index]


class TextsToPredict(Dataset[dict[str, Tensor]]):
    """Tokenized texts; one that is missing raises ValueError."""

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer) -> None:
        self.texts, self.tokenizer = texts, tokenizer
        self.names = [f"row {number}" for number in range(1, len(texts) + 1)]

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.texts)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask`, int64 `(max_length,)`, so that all stack."""
        if not self.texts[index]:
            raise ValueError("no text, or a row that cannot be read")
        batch = self.tokenizer([self.texts[index]], pad_to_max=True)
        return {name: values[0] for name, values in batch.items()}


class TextDataModule(SplitDataModule):
    """Batches of `input_ids` and `attention_mask`, int64 `(B, T)` each, and classes, int64 `(B,)`.

    The texts are read when an attribute that depends on them, such as `num_classes`, is first
    asked for.

    Args:
        tokenizer: called with the texts of a batch.
        dataset: called for the labelled texts, where no `path` is given.
        path: a CSV or JSONL file of labelled texts.
        text: the column of the texts in `path`.
        label: the column of the classes in `path`.
        val_fraction: share of the texts for validation.
        test_fraction: share of the texts for the test.
        split_seed: of the split; not the run's seed, so that runs can be compared.
        batch_size: texts of a batch, on each device.
        num_workers: processes that tokenize.

    Raises:
        ValueError: when the texts are read, if they cannot be, or hold fewer than two classes.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        dataset: Callable[[], Corpus] | None = None,
        path: str | None = None,
        text: str = "text",
        label: str = "label",
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 42,
        batch_size: int = 32,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, collate=partial(tokenize_batch, tokenizer))
        self.tokenizer = tokenizer
        self.dataset = dataset
        self.path = path
        self.columns = (text, label)
        self.fractions = (val_fraction, test_fraction)
        self.split_seed = split_seed
        self._class_names: list[str] = []

    @cached_property
    def corpus(self) -> Corpus:
        """The labelled texts."""
        if self.path is not None:
            return read_corpus(self.path, *self.columns)
        if self.dataset is None:
            raise ValueError("There are no texts: set data.path=FILE.csv or data/dataset")
        return self.dataset()

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their numbers."""
        if not self._class_names:
            names = sorted(set(self.corpus.labels))
            if not 2 <= len(names) <= len(self.corpus.labels) / 2:
                raise ValueError(
                    f"{len(self.corpus.labels)} texts have {len(names)} different labels, too few "
                    "or too many for classes: set data.label=COLUMN"
                )
            self._class_names = names
        return self._class_names

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def vocab_size(self) -> int:
        """Different numbers that the tokenizer gives."""
        return self.tokenizer.vocab_size

    @property
    def max_length(self) -> int:
        """Tokens of the longest text."""
        return self.tokenizer.max_length

    def setup(self, stage: str | None = None) -> None:
        """Split the texts once."""
        if self.data_train is not None:
            return
        number = {name: i for i, name in enumerate(self.class_names)}
        if unknown := sorted(set(self.corpus.labels) - set(number)):
            raise ValueError(f"The training had no class {', '.join(unknown[:9])}")
        texts = [(text, number[label]) for text, label in zip(*self.corpus, strict=True)]
        generator = torch.Generator().manual_seed(self.split_seed)
        order = torch.randperm(len(texts), generator=generator).tolist()
        val, test = (max(1, round(fraction * len(order))) for fraction in self.fractions)
        self.data_val, self.data_test, self.data_train = (
            LabelledTexts([texts[i] for i in part])
            for part in (order[:val], order[val : val + test], order[val + test :])
        )

    def prediction_dataset(self, path: str) -> TextsToPredict:
        """Return the texts of a file as the model takes them: a `.txt` file has one in each line.

        Raises:
            ValueError: if the file cannot be read, or has no column of texts.
        """
        column = self.columns[0]
        records = read_records(path, column)
        if records and not any(column in record for record in records):
            raise ValueError(f"{path} has no column {column}: rename the one that holds the texts")
        return TextsToPredict([cell(record, column) for record in records], self.tokenizer)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Return a batch; for an export, which has no trainer, padded to `max_length` tokens."""
        inputs, labels = batch
        if self.trainer is None:
            inputs = {
                name: functional.pad(numbers, (0, self.max_length - numbers.shape[1]))
                for name, numbers in inputs.items()
            }
        return inputs, labels

    def state_dict(self) -> dict[str, Any]:
        """Return the classes, which a checkpoint needs, and what texts become.

        An exported model carries them as `preparation`.
        """
        tokens = {"vocab_size": self.vocab_size, "max_length": self.max_length}
        return {"class_names": self.class_names} | tokens

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the classes of a checkpoint, also for texts that are numbered already."""
        self._class_names = state_dict["class_names"]
        if self.data_train is not None:
            self.data_train = None
            self.setup()


def tokenize_batch(tokenizer: Tokenizer, examples: Sequence[LabelledText]) -> Batch:
    """Turn texts and the numbers of their classes into tensors."""
    texts, labels = zip(*examples, strict=True)
    return tokenizer(texts), torch.tensor(labels)
