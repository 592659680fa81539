"""The benchmarks run: a few steps of some comparisons, whose figures mean nothing."""

from pathlib import Path

import pytest

from tests.conftest import FULL, TEMPLATE, Project


def test_comparisons_run_for_a_few_steps(project: Project, tmp_path: Path) -> None:
    bench = f"{TEMPLATE}/benchmarks/bench.py . --quick --only steps,sweep,memory"
    project.run(f"uv run --with matplotlib python {bench} --results {tmp_path}")
    table = (tmp_path / "cpu.md").read_text()
    for what in ("dense", "the stock recipe", "a sweep of 3", "peak memory"):
        assert what in table


@pytest.mark.skipif(not FULL, reason="FULL=1 takes the minutes for it")
@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("benchmarks/command_line.py . --rounds 1", "--cfg job"),
        ("benchmarks/scaling.py . processes --repeat 1 --results {folder}", "2 processes"),
    ],
)
def test_the_others_run_once(project: Project, tmp_path: Path, command: str, said: str) -> None:
    filled = command.format(folder=tmp_path)
    assert said in project.run(f"uv run python {TEMPLATE}/{filled}").stdout
