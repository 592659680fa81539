"""Tab completion: what the shells are answered, and the key pressed in a real bash."""

import os
import pty
import select
import sys
import termios
import time
from pathlib import Path

import pytest
from conftest import Command

ANSWERS = {
    "log": {"logger."},
    "model/op": {"model/optimizer="},
    "model/optimizer=s": {"model/optimizer=sgd"},
    "experiment=": {"experiment=mon_experience"},
    "trainer.max": {"trainer.max_epochs="},
    "data.batch": {"data.batch_size="},
}
PATIENCE = 60.0  # seconds


@pytest.mark.parametrize("line", ANSWERS)
def test_groups_are_completed_as_they_are_typed(
    line: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_LINE", f"python src/train.py {line}")
    answer = command("-sc", "query=bash")
    words = set(answer.out.split())
    assert words >= ANSWERS[line]
    assert all(word.startswith(line.split(" ")[-1]) for word in words)
    assert answer.err == ""


@pytest.mark.skipif(not os.path.exists("/bin/bash"), reason="needs bash")
def test_the_tab_key_in_bash(project: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "TERM": "xterm"}
        os.execvpe("/bin/bash", ["bash", "--norc", "--noprofile", "-i"], environment)
    termios.tcsetwinsize(terminal, (50, 300))  # so that no line is broken

    def press(text: str, expected: str) -> None:
        os.write(terminal, text.encode())
        shown, deadline = "", time.monotonic() + PATIENCE
        while expected not in shown:
            assert time.monotonic() < deadline, f"{expected!r} is not in {shown!r}"
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 65536).decode(errors="replace")

    try:
        # The prompt is quoted so that typing it does not show it.
        press("""eval "$(python src/train.py -sc install=bash)"; PS1='REA''DY '\n""", "READY ")
        press("python src/train.py model/op\t", "model/optimizer=")
        press("sg\t", "sgd")
        press(" trainer.max\t", "trainer.max_epochs=")
        press("\x15echo wai''ted\n", "waited")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)
