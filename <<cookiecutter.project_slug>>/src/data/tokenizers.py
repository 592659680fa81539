"""From texts to numbers, in one padded tensor a batch."""

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

PATTERN = re.compile(r"\w+|[^\w\s]")


class HashedWords:
    """Words and signs, numbered by a hash: there is no vocabulary to learn, save or load.

    0 pads. Two words may share a number; the larger `vocab_size`, the fewer do.

    Args:
        vocab_size: numbers there are.
        max_length: words and signs a text is cut to.
    """

    def __init__(self, vocab_size: int = 8192, max_length: int = 128) -> None:
        self.vocab_size = vocab_size
        self.max_length = max_length

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask`, int64 `(B, T)`."""
        rows = [
            [
                1 + crc32(word.encode()) % (self.vocab_size - 1)
                for word in PATTERN.findall(text.lower())[: self.max_length]
            ]
            or [0]
            for text in texts
        ]
        ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        return {"input_ids": ids, "attention_mask": mask}


class HuggingFaceTokenizer:
    """The tokenizer of a model on the Hugging Face hub, fetched when it is first used.

    Args:
        name: of the model, or a folder that holds it.
        max_length: tokens a text is cut to.

    Raises:
        ValueError: at the first call, if it cannot be had.
    """

    def __init__(self, name: str, max_length: int = 128) -> None:
        self.name = name
        self.max_length = max_length
        self._tokenizer: Any = None

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask`, int64 `(B, T)`."""
        if self._tokenizer is None:
            try:
                tokenizers = import_module("transformers").AutoTokenizer
                self._tokenizer = tokenizers.from_pretrained(self.name)
            except ImportError as error:
                raise ValueError("Hugging Face needs a package: uv sync --extra text") from error
            except OSError as error:
                raise ValueError(
                    f"The tokenizer {self.name} is neither a folder nor can it be downloaded: "
                    "go online once, or train from scratch: data/tokenizer=words"
                ) from error
        batch = self._tokenizer(
            list(texts),
            max_length=self.max_length,
            truncation=True,
            padding=True,
            return_tensors="pt",
        )
        return {name: batch[name] for name in ("input_ids", "attention_mask")}
