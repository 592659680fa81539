"""Comparisons by whole epochs after a first one that is not counted, as a GPU needs them.

The clock is read when the GPU has done its work. A process counts with the median of its epochs.
"""

import os
import re
from collections.abc import Callable
from functools import partial
from itertools import product
from statistics import median
from typing import Any

from comparisons import Row, ratios
from data import CLASSES, DigitFiles, ImageFiles
from processes import Lines, Runner

EPOCHS = 3  # the first one is not counted
PRECISIONS = ("32-true", "bf16-mixed")
COMPILED = ("false", "true", "reduce-overhead")
NETS = (("dense", 64), ("cnn", 64), ("resnet18", 64), ("resnet18", 512))  # with batch sizes
FEW_STEPS = 15  # of an epoch on a CPU, and in a quick run
V2 = "torchvision.transforms.v2"
# As PyTorch's ImageNet example augments.
AUGMENTATION = (
    f"data.augmentation={{_target_:{V2}.Compose,transforms:"
    f"[{{_target_:{V2}.RandomResizedCrop,size:SIZE}},{{_target_:{V2}.RandomHorizontalFlip}}]}}"
)

Side = Callable[[], Lines]


def rate(lines: Lines, batch_size: int) -> float:
    """Return the images a second of a process."""
    epochs = [line for line in lines if line["all_train"]]
    return median(batch_size * x["all_steps"] / x["all_train"] for x in epochs[1:] or epochs)


def compare(
    what: str, sides: dict[str, Side], batch_size: int, settings: str, rounds: int
) -> list[Row]:
    """Run `ours` and other sides in turn; each begins a round as often as the others."""
    measured: dict[str, list[float]] = {side: [] for side in sides}
    busy: list[float] = []
    names = list(sides)
    for number in range(rounds):
        first = number % len(names)
        for side in names[first:] + names[:first]:
            lines = sides[side]()
            measured[side].append(rate(lines, batch_size))
            if side == "ours":
                busy += lines[0]["busy"]
                settings = settings.format(**lines[-1])
    rows = rows_of(what, measured, settings)
    if busy:
        rows.append(Row(f"{what}: GPU utilisation of ours, start-up included", "", busy, "%"))
    return rows


def rows_of(
    what: str, measured: dict[str, list[float]], settings: str, goal: str = ""
) -> list[Row]:
    """Return the ratios of `ours` to each other side, and the rates of all."""
    rows = [
        Row(f"{what}: ours against {side}", goal, ratios(measured, side), settings=settings)
        for side in measured
        if side != "ours"
    ]
    for side, values in measured.items():
        rows.append(Row(f"{what}: {side}", "", values, "images/s", settings))
    return rows


def combinations(runner: Runner, what: str) -> list[tuple[str, str, str]]:
    """Return names of combinations, with their precisions and modes of compilation."""
    kinds = list(product(PRECISIONS, COMPILED))[: None if runner.accelerator == "gpu" else 1]
    names = [
        (f"{what}, {precision}, {mode.replace('false', 'eager')}", precision, mode)
        for precision, mode in kinds
    ]
    return [combination for combination in names if re.search(runner.match, combination[0])]


def nets(runner: Runner, rounds: int) -> list[Row]:
    """Nets on MNIST, against the bare loop with its images on the device, and the stock recipe."""
    rows = []
    steps = FEW_STEPS if runner.quick or runner.accelerator == "cpu" else None
    for net, batch_size in NETS[:1] if runner.quick else NETS:
        for what, precision, mode in combinations(runner, f"{net} at 28x28, batch {batch_size}"):
            ours = [
                *(f"data.batch_size={batch_size}", f"model.compile={mode}", "test=false"),
                *(f"+trainer.precision={precision}", f"trainer.max_epochs={EPOCHS}"),
                *([f"model/net={net}"] if net != "dense" else []),  # else the experiment's widths
                *([f"+trainer.limit_train_batches={steps}"] if steps else []),
            ]
            theirs = [
                *("--net", net, "--batch-size", str(batch_size), "--compile", mode),
                *("--precision", precision, "--epochs", str(EPOCHS)),
                *(["--steps", str(steps)] if steps else []),
            ]
            sides: dict[str, Side] = {
                "ours": partial(runner.train, *ours),
                "the bare loop": partial(runner.side, "bare_loop", *theirs),
                "the stock recipe": partial(
                    runner.side, "stock_recipe", "--out", str(runner.scratch), *theirs
                ),
            }
            rows += compare(what, sides, batch_size, "{threads} threads, 0 workers", rounds)
    return rows


def training(
    runner: Runner,
    rounds: int,
    files: ImageFiles,
    net: str,
    size: int,
    batch_size: int,
    crop: str = "random",
    epochs: int = EPOCHS,
    steps: int | None = None,
) -> list[Row]:
    """Train from image files: against the loop of the ImageNet example, and the same in memory.

    Without MLflow, whose import takes as long as the first epochs of small data.
    """
    folder = files.make(runner.data_dir, validation=batch_size)  # which is not measured
    workers = min(os.cpu_count() or 1, 16)
    rows = []
    for what, precision, mode in combinations(runner, f"{net} at {size}x{size} from {files}"):
        ours = [
            *(f"data.path={folder}", "+data.test_fraction=0", f"data.image_size={size}"),
            *(f"data.batch_size={batch_size}", f"data.num_workers={workers}"),
            *("+data.loader.drop_last=true", "model/optimizer=sgd", f"model.compile={mode}"),
            *(f"+trainer.precision={precision}", f"trainer.max_epochs={epochs}", "test=false"),
            "logger=csv",
            *([AUGMENTATION.replace("SIZE", str(size))] if crop == "random" else []),
            *([f"+trainer.limit_train_batches={steps}"] if steps else []),
        ]
        if net != "cnn":
            node = f"{{_target_:torchvision.models.{net},num_classes:{CLASSES}}}"
            ours += ["~model/net", f"+model.net={node}"]
        theirs = [
            *("--net", net, "--size", str(size), "--crop", crop, "--batch-size", str(batch_size)),
            *("--workers", str(workers), "--precision", precision, "--compile", mode),
            *("--epochs", str(epochs), *(["--steps", str(steps)] if steps else [])),
        ]
        loop = partial(runner.side, "image_loop", *theirs, data_dir=folder)
        sides: dict[str, Side] = {
            "ours": partial(runner.train, *ours),
            "the ImageFolder loop": loop,
            "the loop in memory": partial(loop, "--source", "memory"),
        }
        if runner.accelerator == "gpu":
            channels_last = ("--source", "memory", "--channels-last")
            sides["the loop in memory, channels_last"] = partial(loop, *channels_last)
        settings = f"{{threads}} threads, {workers} workers, batch {batch_size}, logger=csv"
        rows += compare(what, sides, batch_size, settings, rounds)
    return rows


def jpeg(runner: Runner, rounds: int) -> list[Row]:
    """Training from JPEG files, augmented as PyTorch's ImageNet example does."""
    if runner.quick:
        return training(runner, rounds, ImageFiles(200, 100, 75), "resnet18", 32, 64, steps=2)
    if runner.accelerator == "cpu":
        return training(runner, rounds, ImageFiles(600, 500, 375), "cnn", 64, 64)
    return training(runner, rounds, ImageFiles(20_000, 500, 375), "resnet50", 224, 128)


def digits(runner: Runner, rounds: int) -> list[Row]:
    """Training from small PNG files, as the images starting point does by default."""
    return training(runner, rounds, DigitFiles(), "cnn", 16, 64, crop="center", epochs=6)


def decode(runner: Runner, rounds: int) -> list[Row]:
    """The project's `read_image` against PIL, with the same resizing and cropping."""
    kinds = [
        (ImageFiles(400, 500, 375), 16),
        (ImageFiles(16, 4000, 3000), 2),
        (ImageFiles(160, 500, 375, "png"), 16),
    ]
    if runner.quick:
        kinds = [(ImageFiles(20, 100, 75), 2), (ImageFiles(20, 100, 75, "png"), 2)]
    counts = [1, 2]
    if runner.accelerator == "gpu":
        kinds[0] = (ImageFiles(20_000, 500, 375), 16)
        counts = sorted({1, 8, os.cpu_count() or 1})
    rows = []
    for files, batch_size in kinds:
        if not re.search(runner.match, f"reading {files}"):
            continue
        folder = files.make(runner.data_dir)
        goal = ">= 1.8" if files.suffix == "jpg" else ""
        for workers in counts[:1] if runner.quick else counts:
            arguments = ("--workers", str(workers), "--batch-size", str(batch_size))
            arguments += ("--rounds", str(rounds))
            measured: dict[str, list[float]] = {}
            for line in runner.side("decode", *arguments, data_dir=folder):
                if line["round"] > 0:
                    value = files.count / line["all_train"]
                    measured.setdefault(line["reader"], []).append(value)
            settings = f"{workers} workers of 1 thread"
            rows += rows_of(f"reading {files}", measured, settings, goal)
    return rows


OF_MNIST: dict[str, Callable[[Runner, int], list[Any]]] = {"nets": nets}
OF_FILES: dict[str, Callable[[Runner, int], list[Any]]] = {
    "jpeg": jpeg,
    "digits": digits,
    "decode": decode,
}
