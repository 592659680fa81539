"""What is shown of a run's progress: a live bar on a terminal, plain lines elsewhere."""

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from src.runtime.identity import PROJECT_ROOT
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


def shown_on_a_terminal(command: list[str], **environment: str) -> str:
    """Run a command on a pseudo-terminal of its own, and return every character it writes."""
    import pty

    master, slave = pty.openpty()
    left_out = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS")
    outside = {key: value for key, value in os.environ.items() if key not in left_out}
    process = subprocess.Popen(
        command,
        cwd=PROJECT_ROOT,
        env=outside | environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    written = b""
    with suppress(OSError):  # nobody is left at the other end
        while piece := os.read(master, 65536):
            written += piece
    os.close(master)
    assert process.wait() == 0, written.decode()
    return written.decode()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals")
@pytest.mark.parametrize(
    ("environment", "live", "coloured"),
    [
        ({"TERM": "xterm-256color"}, True, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_a_whole_run_obeys_its_terminal(
    tmp_path: Path, environment: dict[str, str], live: bool, coloured: bool
) -> None:
    settings = ("data=digits", "trainer.accelerator=cpu", "common/logger@logger=csv")
    often = [setting for setting in OFTEN if "test" not in setting]
    command = [sys.executable, "src/train.py", *settings, *often, f"paths.log_dir={tmp_path}"]
    shown = shown_on_a_terminal(command, **environment)
    assert ("\x1b[2K" in shown) is live
    assert bool(COLOUR.search(shown)) is coloured
    assert ("\x1b" in shown) is live
    assert re.search(r"test/acc\W+0\.\d+", shown)


@pytest.mark.slow
def test_a_whole_run_in_a_log_file_is_plain_lines(tmp_path: Path) -> None:
    settings = ("data=digits", "trainer.accelerator=cpu", "common/logger@logger=csv")
    command = [sys.executable, "src/train.py", *settings, *OFTEN, f"paths.log_dir={tmp_path}"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, check=True)
    shown = (done.stdout + done.stderr).decode()
    assert re.search(
        r"^epoch 2/2  step \d+/\d+  loss .* samples/s  \d:\d\d:\d\d left$", shown, re.M
    )
    assert not [char for char in shown if ord(char) < 32 and char != "\n"]
