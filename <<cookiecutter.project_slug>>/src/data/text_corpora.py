"""Corpora of labelled texts: one of your own in a CSV file, and one that every machine has."""

import ast
import csv
import random
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple


class Corpus(NamedTuple):
    """Texts, and the name of the class of each."""

    texts: list[str]
    labels: list[str]


def csv_file(path: str, text: str = "text", label: str = "label") -> Corpus:
    """Read a corpus from two columns of a CSV file.

    Raises:
        ValueError: if there is no such file, or no such column.
    """
    if not Path(path).expanduser().is_file():
        raise ValueError(f"{path} does not exist: set data.dataset.path to a CSV file")
    with Path(path).expanduser().open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        for column in (text, label):
            if column not in (reader.fieldnames or ()):
                raise ValueError(
                    f"{path} has no column {column}, only {', '.join(reader.fieldnames or ())}: "
                    "set data.dataset.text and data.dataset.label"
                )
        rows = [(row[text], row[label]) for row in reader]
    return Corpus([row[0] for row in rows], [row[1] for row in rows])


def docstrings(packages: Sequence[str], per_package: int = 2000, words: int = 8) -> Corpus:
    """Collect docstrings of installed packages: which package is each from?

    The names of the packages are blanked. The files are parsed and not imported.

    Args:
        packages: names of installed packages: the classes.
        per_package: how many docstrings of each, drawn with a seed of their own.
        words: how many a docstring has at least.

    Raises:
        ValueError: if a package is not installed.
    """
    names = re.compile("|".join(map(re.escape, packages)), re.IGNORECASE)
    corpus = Corpus([], [])
    for package in packages:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ValueError(f"{package} is not installed: remove it from data.dataset.packages")
        files = sorted(Path(spec.submodule_search_locations[0]).rglob("*.py"))
        random.Random(0).shuffle(files)
        found: dict[str, None] = {}  # each once, in order
        for file in files:
            for node in ast.walk(ast.parse(file.read_bytes())):
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    text = names.sub("_", ast.get_docstring(node) or "")
                    if len(text.split()) >= words:
                        found[text] = None
            if len(found) >= per_package:
                break
        texts = list(found)[:per_package]
        corpus.texts.extend(texts)
        corpus.labels.extend([package] * len(texts))
    return corpus
