"""Jobs that start in the same instant get folders of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

from src.runtime.identity import PROJECT_ROOT

JOBS = 50
# Forked when all is imported, and let go together: no two starts could be closer.
DRIVER = """
import os
from src import train
from src.runtime import cli

train.train = lambda cfg: ({}, None)
begin, go = os.pipe()
for _ in range(JOBS):
    if not os.fork():
        os.close(go)
        os.read(begin, 1)
        cli.run(train.main, "train")
        os._exit(0)
os.close(go)
for _ in range(JOBS):
    os.wait()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.parametrize("options", [(), ("-m",)])
def test_fifty_starts_at_once_get_fifty_folders(tmp_path: Path, options: tuple[str, ...]) -> None:
    driver = DRIVER.replace("JOBS", str(JOBS))
    command = [sys.executable, "-c", driver, *options, f"paths.log_dir={tmp_path}"]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    kind = "multiruns/*/0" if options else "runs/*"
    saved = list((tmp_path / "train").glob(f"{kind}/.hydra/config.yaml"))
    assert len(saved) == JOBS, result.stderr
