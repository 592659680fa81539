"""A headless Chromium, spoken to in its DevTools protocol through a pair of pipes.

https://chromedevtools.github.io/devtools-protocol/; no driver and no package stands between.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
EXECUTABLE = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


class Page:
    """One page of the browser.

    Args:
        commands: file descriptor that Chromium reads.
        answers: file descriptor that it writes.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = os.fdopen(commands, "wb", buffering=0)
        self._answers = os.fdopen(answers, "rb")
        self._number = 0
        self._session: dict[str, str] = {}
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        attached = self.command("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        self._commands.write(json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            pass  # events
        assert "result" in answer, answer
        return answer["result"]

    def open(self, url: str, width: int = 1300, height: int = 1000) -> None:
        """Go to an address, in a window of this many pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        self.command("Page.navigate", url=url)

    def value(self, javascript: str) -> Any:
        """Return the value of an expression, evaluated in the page."""
        result = self.command("Runtime.evaluate", expression=javascript, returnByValue=True)
        return result["result"].get("value")

    def wait_for(self, javascript: str, seconds: float = 120) -> None:
        """Wait until an expression is true; fail with the text of the page if it stays false."""
        deadline = time.monotonic() + seconds
        while not self.value(f"Boolean({javascript})"):
            shown = self.value("document.body && document.body.innerText")
            assert time.monotonic() < deadline, f"{javascript}\nstays false in:\n{shown}"
            time.sleep(0.2)

    def _receive(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "the browser ended"
            text += byte
        return json.loads(text)


@contextmanager
def browser(folder: Path) -> Generator[Page]:
    """Yield a page of a new browser, which keeps its profile in a folder."""
    assert EXECUTABLE, f"needs one of {', '.join(NAMES)}"
    theirs_in, commands = os.pipe()
    answers, theirs_out = os.pipe()
    process = subprocess.Popen(  # Chromium wants the pipes as descriptors 3 and 4
        [
            *("bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", EXECUTABLE),
            *(*FLAGS, "--remote-debugging-pipe", f"--user-data-dir={folder}"),
        ],
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Page(commands, answers)
    finally:
        process.terminate()
        process.wait()
