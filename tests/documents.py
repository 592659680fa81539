"""Commands and files that a document shows.

The lines of its ```bash blocks are commands, and so is what stands between backticks and begins
with `python src/`. A ```python or ```yaml block whose first line is a comment with a path, such as
`# src/models/gan_module.py`, is that file of the project. (`# @package _global_` comes before it:
Hydra reads no further than the first other line.)
"""

import re
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shown_files(document: Path) -> dict[str, str]:
    """Return the files that a document shows, by their path in the project."""
    found = {}
    for language, block in FENCE.findall(document.read_text("utf-8")):
        path = r"(?:# @package \S+\n)?# ((?:src|configs|tests)/[\w./-]+\.(?:py|yaml))\b"
        name = re.match(path, block)
        if name and language in ("python", "yaml"):
            found[name[1]] = block
    return found


def commands(document: Path) -> list[str]:
    """Return the commands that a document shows, in their order, each once."""
    found: list[str] = []
    pattern = re.compile(
        rf"{FENCE.pattern}|`((?:\w+=\S+ )*(?:uv run )?python src/[^`]+)`", re.MULTILINE | re.DOTALL
    )
    for language, block, inline in pattern.findall(document.read_text("utf-8")):
        if language == "bash":
            lines = re.sub(r"\\\n\s*", "", block).splitlines()
            found += [re.sub(r"(^|\s+)#.*", "", line) for line in lines]
        found.append(" ".join(inline.split()))
    return list(dict.fromkeys(line.removeprefix("uv run ").strip() for line in found if line))


def broken_links(document: Path) -> list[str]:
    """Return the links of a document that lead to no file."""
    text = FENCE.sub("", document.read_text("utf-8"))
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    return [link for link in links if "://" not in link and not (document.parent / link).exists()]
