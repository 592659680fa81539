"""How log lines look: coloured on a terminal, plain anywhere else, and free of advertisement.

And where Lightning's go: it has handlers of its own.
"""

import logging
import os
import sys

COLOURS = {"DEBUG": 36, "INFO": 32, "WARNING": 33, "ERROR": 31, "CRITICAL": 35}  # ANSI codes


class ColouredFormatter(logging.Formatter):
    """Put a line's level in colour, if standard output is a terminal that shows colours.

    `NO_COLOR` (https://no-color.org) and `TERM=dumb` are obeyed.
    """

    def __init__(self, format: str) -> None:
        super().__init__(format)
        wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self.coloured = wanted and sys.stdout.isatty()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = super().format(record)
        if not self.coloured:
            return line
        level = record.levelname
        return line.replace(level, f"\x1b[{COLOURS.get(level, 0)}m{level}\x1b[0m", 1)


class NoAdvertisement(logging.Filter):
    """Let pass all but what recommends Lightning's other products."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a line is to be shown."""
        return not ("lightning" in record.name and "Tip: " in record.getMessage())


def take_in_lightning() -> None:
    """Let Lightning's messages go where all others go, and there alone, if that is somewhere.

    Otherwise a message appears twice; or, where Lightning was imported before Hydra opened the
    run's log file, as `eval` does to read a checkpoint, not in that file.
    """
    if logging.getLogger().hasHandlers():
        for name in ("lightning", "lightning.fabric", "lightning.pytorch"):
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = True
