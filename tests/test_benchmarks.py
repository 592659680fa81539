"""The benchmarks run: a few steps of some comparisons, whose figures mean nothing."""

from pathlib import Path

import pytest

from tests.conftest import DEMO, TEMPLATE, Bake, run_in_environment

pytestmark = pytest.mark.slow


def test_comparisons_run_for_a_few_steps(tmp_path: Path) -> None:
    bench = f"{TEMPLATE}/benchmarks/bench.py . --quick --only steps,sweep,memory"
    run_in_environment(DEMO, f"python {bench} --results {tmp_path}")
    table = (tmp_path / "cpu.md").read_text()
    for what in ("dense", "the stock recipe", "a sweep of 3", "peak memory"):
        assert what in table


def test_whole_epochs_are_compared(bake: Bake, tmp_path: Path) -> None:
    images = bake(starting_point="images")
    bench = f"{TEMPLATE}/benchmarks/bench.py . --quick --only nets,jpeg,digits,decode"
    settings = f"--images-project {images} --data-dir {tmp_path}/data --results {tmp_path}"
    run_in_environment(DEMO, f"python {bench} {settings} --name whole_epochs")
    table = (tmp_path / "whole_epochs.md").read_text()
    for what in ("dense", "from 200 JPG", "from digits", "reading 20 PNG", "2 workers"):
        assert what in table


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("benchmarks/command_line.py . --rounds 1", "--cfg job"),
        ("benchmarks/scaling.py . processes --repeat 1 --results {folder}", "2 processes"),
    ],
)
def test_the_others_run_once(tmp_path: Path, command: str, shown: str) -> None:
    filled = command.format(folder=tmp_path)
    assert shown in run_in_environment(DEMO, f"python {TEMPLATE}/{filled}")
