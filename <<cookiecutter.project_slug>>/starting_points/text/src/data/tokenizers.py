"""From texts to numbers, in one padded tensor a batch."""

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol
from zlib import crc32

import torch
from torch import Tensor

PATTERN = re.compile(r"\w+|[^\w\s]")


class Tokenizer(Protocol):
    """What turns texts into numbers."""

    vocab_size: int  # different numbers
    max_length: int  # tokens that a text is cut to

    def __call__(self, texts: Sequence[str], pad_to_max: bool = False) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask`, int64 `(B, T)`.

        T is the longest text's number of tokens, or `max_length` with `pad_to_max`.
        """
        ...


class HashedWords:
    """Words and punctuation, numbered by a hash: there is no vocabulary to learn, save or load.

    0 pads. Two words may share a number; the larger `vocab_size`, the fewer do.

    Args:
        vocab_size: different numbers.
        max_length: tokens that a text is cut to.
    """

    def __init__(self, vocab_size: int = 8192, max_length: int = 128) -> None:
        self.vocab_size = vocab_size
        self.max_length = max_length

    def __call__(self, texts: Sequence[str], pad_to_max: bool = False) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask`, int64 `(B, T)`."""
        rows = [PATTERN.findall(text.lower())[: self.max_length] for text in texts]
        longest = self.max_length if pad_to_max else max(1, *map(len, rows))
        ids = torch.zeros(len(rows), longest, dtype=torch.int64)
        for i, row in enumerate(rows):
            hashes = [1 + crc32(word.encode()) % (self.vocab_size - 1) for word in row]
            ids[i, : len(row)] = torch.tensor(hashes, dtype=torch.int64)
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}


class HuggingFaceTokenizer:
    """The tokenizer of a Hugging Face model.

    Args:
        name: of the model on the hub, or a folder that holds it.
        max_length: tokens that a text is cut to.

    Raises:
        ValueError: if it cannot be loaded.
    """

    def __init__(self, name: str, max_length: int = 128) -> None:
        self.max_length = max_length
        try:
            self.tokenizer: Any = import_module("transformers").AutoTokenizer.from_pretrained(name)
        except ImportError as error:
            raise ValueError(f"Install {error.name}: uv pip install -e '.[text]'") from error
        except OSError as error:
            raise ValueError(
                f"The tokenizer {name} is neither a folder nor can it be downloaded: "
                "go online once, or use the embedded one: data/tokenizer=words"
            ) from error
        self.vocab_size = len(self.tokenizer)

    def __call__(self, texts: Sequence[str], pad_to_max: bool = False) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask`, int64 `(B, T)`."""
        batch = self.tokenizer(
            list(texts),
            max_length=self.max_length,
            truncation=True,
            padding="max_length" if pad_to_max else True,
            return_tensors="pt",
        )
        return {name: batch[name] for name in ("input_ids", "attention_mask")}
