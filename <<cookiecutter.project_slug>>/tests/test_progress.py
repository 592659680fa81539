"""What is shown of a run's progress: a live bar on a terminal, plain lines elsewhere."""

import re

import pytest

from src.train import train
from tests.conftest import SMALL, Compose

OFTEN = (
    "test=false",
    "trainer.max_epochs=2",
    "callbacks.rich_progress_bar.bar_seconds=0",
    "callbacks.rich_progress_bar.line_seconds=0",
)
FACTS = r"step 4/4  loss \d+\.\d+  [\d,]+ samples/s  \d:\d\d:\d\d left"
EPOCH = r"epoch 1/2  .*val/acc 0\.\d+.*train/loss \d+\.\d+.* s\b"
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|9\d)(?:;\d+)*m")


@pytest.mark.parametrize("terminal", [{}, {"FORCE_COLOR": "1", "TERM": "dumb"}])
def test_plain_lines_where_no_terminal_moves_its_cursor(
    composed: Compose,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal: dict[str, str],
) -> None:
    for name, value in terminal.items():
        monkeypatch.setenv(name, value)
    train(composed(*SMALL, *OFTEN))
    shown = capsys.readouterr().out
    assert re.search(f"^epoch 2/2  {FACTS}$", shown, re.MULTILINE)
    assert re.search(f"^{EPOCH}$", shown, re.MULTILINE)
    progress = "\n".join(line for line in shown.splitlines() if line.startswith("epoch"))
    assert "\x1b" not in progress
    assert "\r" not in shown


@pytest.mark.parametrize("colours", [True, False])
def test_a_live_bar_on_a_terminal(
    composed: Compose,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    colours: bool,
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "160")
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    train(composed(*SMALL, *OFTEN))
    shown = capsys.readouterr().out
    assert "\x1b[2K" in shown  # a line drawn over
    assert bool(COLOUR.search(shown)) is colours
    assert re.search(FACTS, shown)
