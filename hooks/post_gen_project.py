"""Tidy up, and say what to type next. Offline; the same each time, since cruft runs it again."""

import contextlib
from pathlib import Path

SLUG = "<< cookiecutter.project_slug >>"

for folder in (".github/workflows", ".github"):
    with contextlib.suppress(OSError):  # not empty: its files were chosen
        Path(folder).rmdir()

print(f"""
{SLUG}/ is ready. Next:

    cd {SLUG}
    uv run python src/train.py experiment=mon_experience
    uv run pytest
""")
