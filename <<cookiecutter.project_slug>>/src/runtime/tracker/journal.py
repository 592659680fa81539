"""What a run tells its tracker, in a file of the run directory until the tracker has it.

A record is a JSON object on a line of its own. Writing one takes some ten microseconds and needs
neither network nor database; delivering it is the work of another process, which may die, wait or
start again at any time: the records stay, and it remembers how far it came.
"""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Journal:
    """The writer of a journal; threads may share it, processes may not.

    Args:
        path: the file, which may hold records of a run that goes on.

    Raises:
        OSError: if the file can be neither made nor mended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unwritten: list[bytes] = []  # what a full disk has refused so far
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:  # cut off what a power failure left of a record
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)

    def append(self, record: Record) -> OSError | None:
        """Write a record, after those that could not be written before.

        A full disk is returned, not raised: the record is kept in memory until the next call.
        """
        with self._lock:
            self.unwritten.append(json.dumps(record).encode() + b"\n")
            try:
                self._write_all()
            except OSError as error:
                return error
        return None

    def _write_all(self) -> None:
        with self.path.open("ab", buffering=0) as file:
            while self.unwritten:
                line, end = self.unwritten[0], file.tell()
                try:
                    if file.write(line) != len(line):
                        raise OSError("No space left on device")
                except OSError:
                    file.truncate(end)  # no half record may stand in front of the next one
                    raise
                del self.unwritten[0]


def read(path: Path, offset: int = 0) -> Iterator[tuple[Record, int]]:
    """Yield each complete record from byte `offset` on, with the offset that follows it."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return  # still being written
            offset += len(line)
            yield json.loads(line), offset


def read_json(path: Path) -> Record:
    """Return the object in a JSON file, or an empty one if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_json(path: Path, content: Record) -> None:
    """Replace a JSON file at once: a reader finds the old content or the new."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=2), encoding="utf-8")
    os.replace(temporary, path)
