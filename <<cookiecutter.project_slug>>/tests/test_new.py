"""The generator: it writes what it says, and never over a file."""

from pathlib import Path

import pytest
import yaml

from src.new import write
from src.runtime.verb.scaffold import KINDS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with the folders of a project."""
    for files in KINDS.values():
        for path in files:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_whole(root: Path, kind: str) -> None:
    paths = write(kind, "birds_2", root)
    assert {path for path in root.rglob("*") if path.is_file()} == set(paths)
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert "birds_2" in path.name
        assert "NAME" not in text
        assert "CLASS" not in text
        if path.suffix == ".py":
            compile(text, path, "exec")
        else:
            assert yaml.safe_load(text)


@pytest.mark.parametrize("name", ["Birds", "my birds", "2birds", "class", "../birds", ""])
def test_a_bad_name_is_refused(root: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a module"):
        write("data", name, root)


def test_nothing_is_overwritten(root: Path) -> None:
    (root / "configs/data/birds.yaml").write_text("mine")
    with pytest.raises(ValueError, match=r"configs/data/birds\.yaml is there already"):
        write("data", "birds", root)
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["birds.yaml"]
