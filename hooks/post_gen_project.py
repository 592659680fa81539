"""Copy the starting point over the project, print the next steps; cruft runs it on every update."""

import shutil
from pathlib import Path

STARTING_POINT = "<< cookiecutter.starting_point >>"
LAYERS_BELOW = {"mnist": ["vision"], "images": ["vision"]}

overlays = Path("starting_points")
if overlays.is_dir():
    for name in [*LAYERS_BELOW.get(STARTING_POINT, []), STARTING_POINT]:
        shutil.copytree(overlays / name, ".", dirs_exist_ok=True)
    shutil.rmtree(overlays)
for folder in (Path(".github/workflows"), Path(".github")):
    if folder.is_dir() and not any(folder.iterdir()):  # the files of another CI provider
        folder.rmdir()

print("""
<< cookiecutter.project_slug >>/ is ready. Next:

    cd << cookiecutter.project_slug >>
    uv sync
    git init
    git add --all
    git commit --message "Start from the template"
    uv run python src/train.py experiment=mon_experience
    make test
""")
