"""The targets of the Makefile that CI does not call, in a copy of the template."""

import pytest

from tests.conftest import FULL, HAS_GPU, Project, copy_template

pytestmark = pytest.mark.skipif(not FULL, reason="FULL=1 takes the minutes for it")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of the template."""
    folder = tmp_path_factory.mktemp("copy") / "template"
    copy_template(folder)
    return Project(folder, told="")


def test_demo_trains_a_model_and_clean_removes_all_of_it(template: Project) -> None:
    assert "best checkpoint" in template.run("make demo").stdout
    template.run("make clean")
    assert not {"demo", ".venv", "uv.lock"} & {path.name for path in template.folder.iterdir()}


def test_fix_finds_nothing_to_mend(template: Project) -> None:
    template.run("make fix && git diff --exit-code")


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
def test_bench_writes_a_table(template: Project, accelerator: str) -> None:
    if accelerator == "gpu" and not HAS_GPU:
        pytest.skip("needs a GPU")
    template.run(f"make bench RUN_ARGS=--quick ACCELERATOR={accelerator}")
    assert "test accuracy" in (template.folder / f"benchmarks/results/{accelerator}.md").read_text()
