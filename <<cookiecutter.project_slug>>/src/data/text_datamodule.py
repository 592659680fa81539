"""Text classification: a corpus and a tokenizer, each chosen by config, in padded batches."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from src.data.split_datamodule import SplitDataModule
from src.data.text_corpora import Corpus

Batch = tuple[dict[str, Tensor], Tensor]
Labelled = tuple[str, int]


class Tokenizer(Protocol):
    """What turns texts into numbers."""

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask`, int64 `(B, T)`, by those names."""
        ...


class Texts(Dataset[Labelled]):
    """Texts, each with the number of its class."""

    def __init__(self, texts: Sequence[Labelled]) -> None:
        self.texts = texts

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.texts)

    def __getitem__(self, index: int) -> Labelled:
        """Return a text and the number of its class."""
        return self.texts[index]


class TextDataModule(SplitDataModule):
    """Batches of `input_ids` and `attention_mask`, `(B, T)` each, and classes, int64 `(B,)`.

    Args:
        dataset: called for the corpus when it is needed.
        tokenizer: called with the texts of a batch.
        num_classes: how many classes there are; checked, since the net is built for so many.
        val_fraction: of the texts, for validation.
        test_fraction: of the texts, for the test.
        split_seed: which ones; not the run's seed, so that runs can be compared.
        batch_size: texts a step, on each device.
        num_workers: processes that tokenize.

    Raises:
        ValueError: in `setup`, if the corpus cannot be had, or has other classes.
    """

    def __init__(
        self,
        dataset: Callable[[], Corpus],
        tokenizer: Tokenizer,
        num_classes: int,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 42,
        batch_size: int = 32,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers, collate=partial(collate, tokenizer))
        self.dataset = dataset
        self.num_classes = num_classes
        self.fractions = (val_fraction, test_fraction)
        self.split_seed = split_seed
        self.class_names: tuple[str, ...] = ()

    def setup(self, stage: str | None = None) -> None:
        """Load and split the corpus once."""
        if self.data_train is not None:
            return
        texts, labels = self.dataset()
        self.class_names = tuple(sorted(set(labels)))
        if len(self.class_names) != self.num_classes:
            raise ValueError(
                f"The corpus holds {len(self.class_names)} classes "
                f"({', '.join(self.class_names[:9])}), not {self.num_classes}: "
                f"set data.num_classes={len(self.class_names)}"
            )
        number = {name: i for i, name in enumerate(self.class_names)}
        labelled = [(text, number[label]) for text, label in zip(texts, labels, strict=True)]
        generator = torch.Generator().manual_seed(self.split_seed)
        order = torch.randperm(len(labelled), generator=generator).tolist()
        start = 0
        parts = []
        for fraction in self.fractions:
            stop = start + round(fraction * len(order))
            parts.append(Texts([labelled[i] for i in order[start:stop]]))
            start = stop
        self.data_val, self.data_test = parts
        self.data_train = Texts([labelled[i] for i in order[start:]])


def collate(tokenizer: Tokenizer, examples: Sequence[Labelled]) -> Batch:
    """Turn texts and the numbers of their classes into tensors."""
    texts, labels = zip(*examples, strict=True)
    return tokenizer(texts), torch.tensor(labels)
