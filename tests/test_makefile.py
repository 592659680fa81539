"""The targets of the Makefile that CI does not call, in a copy of the template."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import copy_template, run

pytestmark = pytest.mark.slow
HAS_GPU = shutil.which("nvidia-smi") is not None


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the template."""
    folder = tmp_path_factory.mktemp("copy") / "template"
    copy_template(folder)
    return folder


def test_demo_trains_a_model_and_clean_removes_all_of_it(template: Path) -> None:
    run(template, "make demo")
    assert list(template.glob("demo/my_ml_project/logs/train/runs/*/checkpoints/last.ckpt"))
    run(template, "make clean")
    assert not {"demo", ".venv", "uv.lock"} & {path.name for path in template.iterdir()}


def test_fix_finds_nothing_to_change(template: Path) -> None:
    run(template, "make fix && git diff --exit-code")


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_bench_writes_a_table(template: Path, accelerator: str) -> None:
    if accelerator == "gpu" and not HAS_GPU:
        pytest.skip("needs a GPU")
    run(template, f"make bench RUN_ARGS=--quick ACCELERATOR={accelerator}")
    assert (template / f"benchmarks/results/{accelerator}.md").read_text()


def test_gpu_tests_pass(template: Path) -> None:
    if not HAS_GPU:
        pytest.skip("needs a GPU")
    run(template, "make test-gpu")
