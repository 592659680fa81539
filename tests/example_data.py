"""Write small data of one's own into the current folder, for the commands that documents show.

    python tests/example_data.py STARTING_POINT    with the environment of a baked project

Pictures to predict go to `input/`, labelled ones to `own/CLASS/`, a table or texts to `own.csv`.
"""

import sys
from pathlib import Path


def write_pictures() -> None:
    """Write pictures of two classes, dark and bright, and some to predict."""
    from PIL import Image

    for folder, shades in (
        ("own/dark", range(40)),
        ("own/bright", range(200, 240)),
        ("input", [0]),
    ):
        Path(folder).mkdir(parents=True, exist_ok=True)
        for shade in shades:
            Image.new("L", (28, 28), shade).save(Path(folder) / f"{shade}.png")


def write_table(name: str) -> None:
    """Write one of scikit-learn's tables, whose last column is `target`."""
    from sklearn import datasets

    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    frame.to_csv("own.csv", index=False)


def write_texts() -> None:
    """Write texts of two classes."""
    rows = [f"a {word} thing number {n},{word}" for n in range(60) for word in ("good", "bad")]
    Path("own.csv").write_text("\n".join(["text,label", *rows, ""]))


if __name__ == "__main__":
    starting_point = sys.argv[1]
    if starting_point in ("mnist", "images"):
        write_pictures()
    elif starting_point == "text":
        write_texts()
    else:
        write_table("wine" if starting_point == "tabular" else "iris")
