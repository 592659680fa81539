"""Write small data of one's own into the current folder, for the commands that documents show.

    python tests/example_data.py STARTING_POINT    with the environment of a baked project
    python tests/example_data.py photos

Pictures to predict go to `input/`, labelled ones to `own/CLASS/`, a table or texts to `own.csv`;
photos to `photos/CLASS/` and `new/`, and weights of a ResNet-18 beside them.
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


def write_photos() -> None:
    """Write photos of three classes, odd and broken files among them, and three to predict.

    The weights of the ResNet-18 are random, in a file as torchvision offers it.
    """
    import numpy as np
    import torch
    from PIL import Image
    from torchvision import models

    random = np.random.default_rng(0)
    turned = Image.Exif()
    turned[0x0112] = 6

    def photo(brightest: int) -> Image.Image:
        height, width = random.integers(40, 160, 2)
        pixels = random.integers(0, 120, (height, width, 3), dtype=np.uint8)
        pixels[..., brightest] += 100
        return Image.fromarray(pixels)

    for number, name in enumerate(("cars", "golden_retriever_dog", "Äpfel")):
        folder = Path("photos", name)
        folder.mkdir(parents=True)
        for i in range(24):
            photo(number).save(folder / f"IMG {i:03d}.JPG", exif=turned if i % 4 == 0 else b"")
        photo(number).convert("L").save(folder / "grey.jpg")
        photo(number).convert("CMYK").save(folder / "cmyk.jpg")
        photo(number).convert("RGBA").save(folder / "alpha.png")
        Image.new("I;16", (50, 40), 30_000).save(folder / "sixteen.png")
        (folder / "Thumbs.db").write_bytes(b"no image")
        (folder / "._IMG 000.jpg").write_bytes(b"no image")
    Path("photos/cars/broken.jpg").write_bytes(b"no image")
    Path("new").mkdir()
    photo(0).save("new/photo.jpg")
    photo(1).save("new/turned.jpg", exif=turned)
    photo(2).convert("L").save("new/grey.png")
    torch.save(models.resnet18().state_dict(), "resnet18-f37072fd.pth")


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
    elif starting_point == "photos":
        write_photos()
    elif starting_point == "text":
        write_texts()
    else:
        write_table("wine" if starting_point == "tabular" else "iris")
