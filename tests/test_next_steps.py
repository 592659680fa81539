"""The printed next steps, typed as they are printed. They make demo/, which other tests use."""

import json
import shutil

import pytest

from tests.conftest import DEMO, bake_on_command_line, printed_steps, run

GIT_USER = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "Ada"), ("EMAIL", "ada@example.com"))
}


@pytest.mark.demo
def test_the_next_steps_as_printed() -> None:
    for path in DEMO.iterdir() if DEMO.exists() else []:
        if path.name not in (".venv", "data"):  # these take minutes to make again
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    enter, *steps = printed_steps(bake_on_command_line(DEMO.parent))
    assert enter == f"cd {DEMO.name}"
    assert {"git init", "git add --all", "make test"} <= set(steps)
    output = {step: run(DEMO, step, **GIT_USER).stdout for step in steps}

    assert " passed" in output["make test"]
    assert not run(DEMO, "git status --porcelain").stdout  # results are ignored, uv.lock is not
    assert "uv.lock" in run(DEMO, "git ls-files").stdout
    (train,) = [step for step in steps if "src/train.py" in step]
    assert output[train].strip()
    (run_json,) = DEMO.glob("logs/train/runs/*/run.json")
    record = json.loads(run_json.read_text("utf-8"))
    assert record["status"] == "finished"
    assert record["metrics"]["test/acc"] > 0.9
