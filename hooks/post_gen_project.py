"""Put the starting point in place, and say what to type next.

Offline, and the same each time: cruft runs it again on every diff and update.
"""

import shutil
from pathlib import Path

SLUG = "<< cookiecutter.project_slug >>"
STARTING_POINT = "<< cookiecutter.starting_point >>"
# What is the user's own. `bare` empties it, but for what any data and any model can use.
EXAMPLES = (
    *("configs/data", "configs/model", "configs/experiment", "configs/training"),
    "configs/specialize",
    *("src/data", "src/models", "tests"),
)
KEPT = ("__init__.py", "lit_module.py", "optimizer", "scheduler", "test_architecture.py")

if STARTING_POINT == "bare":
    for path in [path for folder in EXAMPLES for path in Path(folder).glob("*")]:
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree("bare", ".", dirs_exist_ok=True)
shutil.rmtree("bare", ignore_errors=True)
for folder in ("configs/training", "configs/specialize", ".github/workflows", ".github"):
    if Path(folder).is_dir() and not any(Path(folder).iterdir()):  # none of its files was chosen
        Path(folder).rmdir()

print(f"""
{SLUG}/ is ready. Next:

    cd {SLUG}
    uv run python src/train.py experiment=mon_experience
    uv run pytest -n auto
""")
