"""The tab key, pressed in real shells."""

import os
import pty
import select
import shutil
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from src.runtime.identity import PROJECT_ROOT
from tests.command_line import typed

Press = Callable[[str, str], str]

# How each is started, without the settings of whoever runs the tests, and what is typed once. The
# prompt is quoted so that typing it does not show it.
SHELLS = {
    "bash": (
        "bash --norc --noprofile -i",
        """eval "$(python src/train.py -sc install=bash)"; PS1='REA''DY '""",
    ),
    "zsh": (
        "zsh -f -i",
        "autoload -Uz compinit bashcompinit; compinit -D -u; bashcompinit; "
        """eval "$(python src/train.py -sc install=zsh)"; PS1='REA''DY '""",
    ),
    "fish": (
        "fish --no-config -i",
        "python src/train.py -sc install=fish | source; function fish_prompt; echo 'REA''DY '; end",
    ),
}
PROMPT = "READY "
PATIENCE = 30.0  # seconds
ERASE = "\x15"  # Ctrl-U: the line that is being typed


@pytest.fixture(
    params=["bash", *(pytest.param(x, marks=pytest.mark.slow) for x in ("zsh", "fish"))]
)
def press(request: pytest.FixtureRequest) -> Iterator[Press]:
    """Return a function that types a text and returns what is shown until an expected text is."""
    start, install = SHELLS[request.param]
    if not shutil.which(request.param):
        pytest.skip(f"needs {request.param}")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(PROJECT_ROOT)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        os.execvpe(start.split()[0], start.split(), os.environ | {"PATH": path, "TERM": "xterm"})

    termios.tcsetwinsize(terminal, (50, 300))  # so that no line is broken

    def type_in(text: str, expected: str) -> str:
        os.write(terminal, text.encode())
        shown = ""
        deadline = time.monotonic() + PATIENCE
        while expected not in shown:
            assert time.monotonic() < deadline, f"{expected!r} is not in {shown!r}"
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 65536).decode(errors="replace")
        return shown

    type_in(f"{install}\n", PROMPT)
    yield type_in
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(terminal)


def test_the_tab_key_completes_groups_choices_and_keys(press: Press) -> None:
    press("python src/train.py model/op\t", "model/optimizer=")
    press("sgd common/logg\t", "common/logger@logger=")
    press("cs\t", "csv")
    press(" trainer.max\t", "trainer.max_epochs=")


@pytest.mark.slow
def test_the_tab_key_runs_no_other_script_and_prints_no_error(press: Press, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')")
    shown = ""
    for line in (f"python {script} ", "python src/train.py data=nope seed=[ mod"):
        shown += press(f"{line}\t", line[-3:])
        shown += press(f"{ERASE}echo wai''ted\n", "waited")
        shown += press("\n", PROMPT)
    assert "rror" not in shown
    assert not (tmp_path / "was_run").exists()


def test_a_completion_imports_no_torch(tmp_path: Path) -> None:
    line = "python src/train.py experiment=mon_experience trainer.max"
    (answer,) = typed(tmp_path, [["-sc", "query=bash"]], COMP_LINE=line)
    assert answer.out.split() == ["trainer.max_epochs="]
    assert not answer.imported
