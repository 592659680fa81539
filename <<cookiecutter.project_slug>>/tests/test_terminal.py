"""What a command writes to a terminal, and what it writes elsewhere."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from src.runtime.identity import PROJECT_ROOT

# The real command, but for the training, in whose place a line is logged.
SCRIPT = """
import logging
from src import train
from src.runtime import cli

def log_a_line(cfg):
    logging.getLogger("a.library").warning("a line")
    return {}, None

train.train = log_a_line
cli.run(train.main, "train")
"""
COLOURED, PLAIN = "[\x1b[33mWARNING\x1b[0m] - a line", "[WARNING] - a line"


@pytest.mark.parametrize(
    ("on_a_terminal", "environment", "expected"),
    [
        (True, {"TERM": "xterm"}, COLOURED),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, PLAIN),
        (True, {"TERM": "dumb"}, PLAIN),
        (False, {"TERM": "xterm"}, PLAIN),
    ],
)
def test_levels_are_in_colour_on_a_terminal_only(
    tmp_path: Path, on_a_terminal: bool, environment: dict[str, str], expected: str
) -> None:
    here, there = pty.openpty() if on_a_terminal else os.pipe()
    subprocess.run(
        [sys.executable, "-c", SCRIPT, f"hydra.run.dir={tmp_path}"],
        cwd=PROJECT_ROOT,
        env={k: v for k, v in os.environ.items() if k != "NO_COLOR"} | environment,
        stdout=there,
        check=True,
    )
    shown = os.read(here, 65536).decode()
    os.close(here)
    os.close(there)
    assert expected in shown
    assert PLAIN in (tmp_path / "train.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("flags", ["--help", "--cfg job"])
def test_nobody_minds_a_reader_that_has_read_enough(flags: str) -> None:
    here, there = os.pipe()
    os.close(here)
    command = [sys.executable, "src/train.py", *flags.split()]
    ended = subprocess.run(command, cwd=PROJECT_ROOT, stdout=there, stderr=subprocess.PIPE)
    os.close(there)
    assert ended.stderr == b""
