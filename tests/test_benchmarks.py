"""The benchmarks run: a few steps of some comparisons, whose figures mean nothing."""

from pathlib import Path

from tests.conftest import TEMPLATE, Project


def test_comparisons_run_for_a_few_steps(project: Project, tmp_path: Path) -> None:
    bench = f"{TEMPLATE}/benchmarks/bench.py . --quick --only steps,sweep,memory"
    project.run(f"uv run --with matplotlib python {bench} --results {tmp_path}")
    table = (tmp_path / "cpu.md").read_text()
    for what in ("dense", "the stock recipe", "a sweep of 3", "peak memory"):
        assert what in table
