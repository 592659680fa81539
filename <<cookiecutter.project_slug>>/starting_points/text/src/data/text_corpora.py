"""Labelled texts: those in a file of one's own, and docstrings that every machine has."""

import ast
import csv
import json
import logging
import random
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

log = logging.getLogger(__name__)

END = "(end of the file)"  # a last row, which an open quotation mark would swallow


class Corpus(NamedTuple):
    """Texts, and the name of the class of each."""

    texts: list[str]
    labels: list[str]


def read_corpus(path: str, text: str, label: str) -> Corpus:
    """Return the labelled texts in a CSV or JSONL file; log how many rows lack one of the two.

    Args:
        path: the file; see `read_records`.
        text: the column (in JSONL: the key) of the texts.
        label: the column of the classes.

    Raises:
        ValueError: if the file cannot be read, or has no such columns.
    """
    records = read_records(path)
    for column in (text, label):
        columns = list(dict.fromkeys(name for record in records for name in record))
        if column not in columns:
            raise ValueError(
                f"{path} has no column {column}, only {', '.join(columns)}: "
                "set data.text=COLUMN and data.label=COLUMN"
            )
    pairs = [(cell(record, text), cell(record, label)) for record in records]
    complete = [pair for pair in pairs if all(pair)]
    if len(complete) < len(pairs):
        count = len(pairs) - len(complete)
        log.info("%d of %d rows are left out: no text, or no label", count, len(pairs))
    return Corpus([pair[0] for pair in complete], [pair[1] for pair in complete])


def cell(record: dict[str, Any], column: str) -> str:
    """Return a cell as a text without spaces around it; a gap is empty."""
    value = record.get(column)
    return "" if value is None else str(value).strip()


def read_records(path: str, text: str = "text") -> list[dict[str, Any]]:
    """Return the rows of a file as dictionaries; a row that cannot be read is an empty one.

    Args:
        path: `.csv` or `.tsv` (the separator is found out), `.jsonl`, or `.txt` (a text a line).
        text: the key of the lines of a `.txt` file.

    Raises:
        ValueError: if the file is missing, of another kind, not UTF-8, or holds an open quotation
            mark.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{path} does not exist: give the path of a .csv or .jsonl file")
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".tsv", ".jsonl", ".txt"):
        raise ValueError(f"{path} is neither .csv, .tsv, .jsonl nor .txt: convert it")
    try:
        with file.open(
            encoding="utf-8-sig", newline="" if suffix in (".csv", ".tsv") else None
        ) as lines:
            if suffix == ".txt":
                return [{text: line.strip()} for line in lines]
            if suffix == ".jsonl":
                return [parse_json(line) for line in lines]
            separator = max(",;\t|", key=lines.readline().count)
            lines.seek(0)
            csv.field_size_limit(10_000_000)  # characters of one text
            rows = list(csv.DictReader([*lines, END], delimiter=separator))
            if not rows or END not in rows.pop().values():
                where = f"{path}, row {len(rows) + 1}"
                raise ValueError(f"{where}: a quotation mark has no end, or the file is empty")
            return [{} if None in row else row for row in rows]  # None: more cells than columns
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: convert it ({error})") from error


def parse_json(line: str) -> dict[str, Any]:
    """Return the object in a line of JSON, an empty one if there is none."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def docstrings(packages: Sequence[str], per_package: int = 1000, words: int = 8) -> Corpus:
    """Collect docstrings of installed packages: which package is each from?

    The names of the packages are blanked. The files are parsed and not imported.

    Args:
        packages: names of installed packages: the classes.
        per_package: how many docstrings of each, sampled with a seed of their own.
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
