"""The table and the plot, with what they were measured on."""

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from comparisons import Row

PACKAGES = ("torch", "torchvision", "pillow", "lightning", "torchmetrics", "mlflow")


def write(
    file: Path, accelerator: str, data: str, rows: list[Row], growth: list[dict[str, Any]]
) -> None:
    """Write the table and, if growth was measured, the plot beside it, `NAME_growth.png`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = [
        f"# {file.stem}, {date.today()}",
        "",
        f"{hardware(accelerator)}. {data}. Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        + f". Load of the machine at the end: {os.getloadavg()[0]:.1f}.",
        "",
    ]
    if rows:
        text += [
            "| what | settings | goal | median | min to max | n |",
            "|---|---|---|---|---|---|",
        ]
        text += [
            f"| {r.what} | {r.settings} | {r.goal} | {median(r.values):.4g} {r.unit} "
            f"| {min(r.values):.4g} to {max(r.values):.4g} | {len(r.values)} |"
            for r in rows
        ]
    if growth:
        names = list(growth[0])
        text += ["", f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
        text += [f"| {' | '.join(f'{point[n]:,.4g}' for n in names)} |" for point in growth]
        plot(file.with_name(f"{file.stem}_growth.png"), growth)
    file.write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text))


def hardware(accelerator: str) -> str:
    """Name the processor, its cores, and the GPU if it was used."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    text = f"{name}, {os.cpu_count()} cores"
    if accelerator == "gpu":
        import torch

        text += f", {torch.cuda.get_device_name()}"
    return text


def plot(path: Path, growth: list[dict[str, Any]]) -> None:
    """Draw time, start-up and memory over the size of the data, and over the workers."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measures = list(growth[0])[2:]
    figure, axes = pyplot.subplots(2, len(measures), figsize=(4 * len(measures), 6))
    by_size = [p for p in growth if p["workers"] == 0]
    size = next(p["images"] for p in growth if p["workers"])
    by_workers = [p for p in growth if p["images"] == size]
    for row, (points, x) in enumerate([(by_size, "images"), (by_workers, "workers")]):
        for axis, measure in zip(axes[row], measures, strict=True):
            axis.plot([p[x] for p in points], [p[measure] for p in points], "o-")
            axis.set(xlabel=x, ylabel=measure, ylim=(0, None))
            axis.locator_params(axis="x", nbins=4)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
