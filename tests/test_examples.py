"""Deleting an example is deleting its files: what is left composes, and its tests find all.

`FULL=1 make test` runs all tests of what is left, some minutes for each example.
"""

import shutil
from pathlib import Path

import pytest

from tests.conftest import FULL, Project

EXAMPLES = {
    "image_folder": [
        "src/data/image_folder_datamodule.py",
        "configs/data/image_folder.yaml",
        "configs/model/image_classifier.yaml",
        "configs/experiment/image_folder.yaml",
        "configs/specialize",
        "tests/test_image_folder.py",
    ],
    "tabular": [
        "src/data/tabular_datamodule.py",
        "src/models/components/mlp.py",
        "configs/data/tabular.yaml",
        "configs/model/tabular_regressor.yaml",
        "configs/experiment/tabular.yaml",
        "tests/test_tabular.py",
    ],
    "text": [
        "src/data/text_datamodule.py",
        "src/data/text_corpora.py",
        "src/data/tokenizers.py",
        "src/models/components/text_transformer.py",
        "src/models/components/huggingface_classifier.py",
        "configs/data/text.yaml",
        "configs/data/dataset",
        "configs/data/tokenizer",
        "configs/model/text_classifier.yaml",
        "configs/model/task",
        "configs/model/backbone",
        "configs/training",
        "configs/experiment/text.yaml",
        "tests/test_text.py",
    ],
    "gan": [
        "src/models/gan_module.py",
        "src/models/components/dcgan.py",
        "src/callbacks/log_samples.py",
        "configs/common/callbacks/log_samples.yaml",
        "configs/model/gan.yaml",
        "configs/experiment/gan.yaml",
        "tests/test_gan.py",
    ],
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_deleted_by_deleting_its_files(
    project: Project, tmp_path: Path, example: str
) -> None:
    rest = Project(tmp_path / "rest", project.told)
    shutil.copytree(project.folder, rest.folder, ignore=shutil.ignore_patterns(".venv", "logs"))
    for name in EXAMPLES[example]:
        path = rest.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    python = project.folder / ".venv" / "bin" / "python"
    rest.run(f"{python} -m ruff check . && {python} -m ty check --python {python.parents[1]}")
    rest.run(f"{python} src/check.py")
    rest.run(f"{python} -m pytest --quiet {'' if FULL else '--collect-only'}")
