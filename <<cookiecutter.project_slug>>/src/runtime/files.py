"""Read and write the small files of a run folder."""

import json
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def atomic_file(path: str | Path) -> Generator[BinaryIO]:
    """Open a file to write; it replaces `path` when the `with` ends without an exception.

    So a reader finds the old content or the new one, never a part.

    Raises:
        OSError: if it cannot be written; the old content is then still there.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Replace the content of a file, as `atomic_file` does.

    Raises:
        OSError: if it cannot be written; the old content is then still there.
    """
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def read_json(path: str | Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if the file is missing or damaged."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Replace a JSON file atomically.

    Raises:
        OSError: if it cannot be written.
    """
    write_atomically(path, json.dumps(content, indent=2, default=str) + "\n")
