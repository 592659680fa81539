"""Whatever is put into a checkpoint, the file can be read as plain data."""

import collections
import dataclasses
import datetime
import decimal
import enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torchvision import tv_tensors

from src.runtime.checkpoints import PlainCheckpointIO


class Text(str):
    """A string of one's own."""


class Flags(enum.IntFlag):
    A = 1


@dataclasses.dataclass
class Settings:
    folder: Path = Path("a")


Pair = collections.namedtuple("Pair", ["a", "b"])
LEFT_OUT = object()
TENSOR = torch.arange(3.0)

VALUES: dict[str, tuple[Any, Any]] = {
    "a string of one's own": (Text("a"), "a"),
    "a flag": (Flags.A, 1),
    "a path": (Path("a/b"), "a/b"),
    "a date": (datetime.date(2026, 11, 1), "2026-11-01"),
    "a time": (datetime.time(1, 2), "01:02:00"),
    "a duration": (datetime.timedelta(minutes=1), "0:01:00"),
    "a NumPy float": (np.float32(0.5), 0.5),
    "a NumPy bool": (np.bool_(True), True),
    "a large NumPy integer": (np.uint64(2**63), 2**63),
    "a long double": (np.longdouble(2), 2.0),
    "a NumPy date": (np.datetime64("2026-11-01"), "2026-11-01"),
    "an array": (np.arange(3.0), TENSOR.double()),
    "an array backwards": (np.arange(3.0)[::-1], TENSOR.double().flip(0)),
    "an array of another machine": (np.arange(3, dtype=">f4"), [0.0, 1.0, 2.0]),
    "an array of text": (np.array(["a"]), ["a"]),
    "an array of objects": (np.array([None, Path("a")], dtype=object), [None, "a"]),
    "a tensor of torchvision": (tv_tensors.Image(torch.zeros(3, 2, 2)), torch.zeros(3, 2, 2)),
    "a parameter": (nn.Parameter(TENSOR.clone()), TENSOR),
    "a named tuple": (Pair(1, np.int8(2)), (1, 2)),
    "a set": ({3, np.int8(4)}, {3, 4}),
    "a deque with a module": (collections.deque([1, nn.Linear(1, 1)]), [1, None]),
    "a counter": (collections.Counter("aab"), collections.Counter("aab")),
    "an ordered dictionary": (collections.OrderedDict(a=1), collections.OrderedDict(a=1)),
    "bytes that change": (bytearray(b"a"), bytearray(b"a")),
    "a dataclass": (Settings(), LEFT_OUT),
    "a configuration": (OmegaConf.create({"a": "${b}", "b": [1]}), {"a": [1], "b": [1]}),
    "one with a gap": (OmegaConf.create({"a": "???"}), {"a": "???"}),
    "odd keys": (
        {np.int64(3): 1, Flags.A: 2, (1, np.int8(2)): 3, frozenset([1]): 4, int: 5},
        {3: 1, 1: 2, (1, 2): 3, (1,): 4, "<class 'int'>": 5},
    ),
    "a type of torch": (torch.float16, torch.float16),
    "a generator": (torch.Generator(), LEFT_OUT),
    "a class": (int, LEFT_OUT),
    "a function": (print, LEFT_OUT),
    "a decimal number": (decimal.Decimal("1"), LEFT_OUT),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_a_file_holds(name: str, tmp_path: Path) -> None:
    value, expected = VALUES[name]
    PlainCheckpointIO({}).save_checkpoint({"x": value, "y": 1}, tmp_path / "a.ckpt")
    found = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert found["y"] == 1
    if expected is LEFT_OUT:
        assert "x" not in found
    elif isinstance(expected, Tensor):
        assert torch.equal(found["x"], expected)
    else:
        assert found["x"] == expected
        assert type(found["x"]) is type(expected)
