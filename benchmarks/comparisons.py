"""What is compared with what. Each function returns rows of the table, or points of the plot."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from operator import truediv
from statistics import median
from typing import Any

from data import synthetic
from processes import Lines, Runner

STEPS = {"dense": None, "cnn": 150, "resnet18": 25}  # of an epoch; None: all
# While the first ones of the dense net last, MLflow is being imported beside them.
EPOCHS = {"dense": 8, "cnn": 2, "resnet18": 2}
STOCK_EPOCHS = 3  # of seven seconds each


@dataclass
class Row:
    """A line of the table: one value for each round."""

    what: str
    goal: str
    values: list[float]
    unit: str = "x"
    settings: str = ""


def rate(lines: Lines) -> float:
    """Return the training steps a second of the best epoch that is not the first, if it can be."""
    epochs = [line for line in lines if line["train"]]
    return max(line["steps"] / line["train"] for line in epochs[1:] or epochs)


def steps(runner: Runner, rounds: int) -> list[Row]:
    """Steady training steps a second, everything on, against the stock recipe and the bare loop."""
    rows = []
    nets = {"dense": 15} if runner.quick else STEPS  # the others take a minute to show the same
    for net, limit in nets.items():
        epochs = 1 if runner.quick else EPOCHS[net]
        limits = [
            f"{x}={limit}" for x in ("+trainer.limit_train_batches", "+trainer.limit_val_batches")
        ]
        ours = [f"model/net={net}", f"trainer.max_epochs={epochs}", *(limits if limit else [])]
        theirs = ["--steps", str(limit)] if limit else []
        if net == "dense":
            ours.pop(0)  # the experiment's own widths
        measured: dict[str, list[float]] = {"ours": [], "bare": [], "clipping": [], "stock": []}
        busy: list[float] = []
        for _ in range(rounds):
            lines = runner.train("test=false", *ours)
            measured["ours"].append(rate(lines))
            busy += lines[0]["busy"]
            bare = ["bare_loop", "--net", net, "--epochs", str(epochs), *theirs]
            measured["bare"].append(rate(runner.side(*bare)))
            if net == "dense":
                measured["clipping"].append(rate(runner.side(*bare, "--clip", "0.5")))
                few = ["--epochs", str(min(epochs, STOCK_EPOCHS)), *theirs]
                stock = runner.side("stock_recipe", "--out", str(runner.scratch), *few)
                measured["stock"].append(rate(stock))
        goal = ">= 0.5" if net == "dense" else ">= 0.95"
        rows.append(Row(f"{net}: steps/s against the bare loop", goal, ratios(measured, "bare")))
        if net == "dense":
            what = "dense: the same, the bare loop clipping gradients as well"
            rows.append(Row(what, "", ratios(measured, "clipping")))
            what = "dense: steps/s against the stock recipe"
            rows.append(Row(what, ">= 3.5", ratios(measured, "stock")))
        rows += [
            Row(f"{net}: {side}", "", values, "steps/s")
            for side, values in measured.items()
            if values
        ]
        if busy:
            rows.append(Row(f"{net}: GPU utilisation, start-up included", "", busy, "%"))
    return rows


def tracking(runner: Runner, rounds: int) -> list[Row]:
    """What a tracker costs a training step, against none, with all else on."""
    epochs = 1 if runner.quick else 3
    limit = ["+trainer.limit_train_batches=15"] if runner.quick else []
    rates: dict[str, list[float]] = {"none": [], "csv": [], "mlflow": []}
    for _ in range(rounds):
        for logger, values in rates.items():
            settings = ("test=false", f"trainer.max_epochs={epochs}", *limit)
            values.append(rate(runner.train(f"common/logger@logger={logger}", *settings)))
    against = rates.pop("none")
    return [
        Row(f"steps/s with {logger} against no tracker", "", list(map(truediv, values, against)))
        for logger, values in rates.items()
    ]


def startup(runner: Runner, rounds: int) -> list[Row]:
    """From the command to the first optimizer step, against importing torch and Lightning."""
    extra: dict[str, list[float]] = {"csv": [], "mlflow": []}
    for _ in range(rounds):
        (line,) = runner.run("-c", "import torch, lightning.pytorch")
        for logger, values in extra.items():
            (first, *_) = runner.train(
                f"common/logger@logger={logger}",
                "trainer.max_epochs=1",
                "+trainer.limit_train_batches=2",
                "+trainer.limit_val_batches=2",
                "test=false",
            )
            values.append(first["first_step"] - first["launched"] - 1.15 * line["seconds"])
    goals = {"csv": "<= 1.5", "mlflow": "<= 3"}
    what = "from the command to the first step, less 1.15 x `import torch, lightning.pytorch`"
    return [Row(f"{what}: {name}", goals[name], v, "s") for name, v in extra.items()]


def sweep(runner: Runner, rounds: int) -> list[Row]:
    """A sweep of one-epoch jobs: from the start of one epoch to that of the next job's."""
    jobs = 3 if runner.quick else 20
    limit = ["+trainer.limit_train_batches=15"] if runner.quick else []
    rates = ",".join(f"{0.001 + 0.0001 * i:.4f}" for i in range(jobs))
    settings = ["-m", f"model.optimizer.lr={rates}", "trainer.max_epochs=1", *limit]
    epochs = [line for line in runner.train(*settings) if line["train"]]
    values = [
        (after["start"] - before["start"]) / before["epoch"] for before, after in pairwise(epochs)
    ]
    what = f"a sweep of {jobs} one-epoch jobs: a job against its epoch"
    rows = [Row(what, "<= 1.15", values)]
    if find_spec("hydra_plugins.hydra_joblib_launcher"):
        epoch = median(line["epoch"] for line in epochs)
        lines = runner.train(*settings, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
        starts = sorted(line["start"] for line in lines if line["train"])
        pairs = zip(starts, starts[2:], strict=False)  # two start at about the same time
        values = [(after - before) / 2 / epoch for before, after in pairs]
        rows.append(
            Row("the same by two joblib workers: a job against that epoch", "<= 1.15", values)
        )
    return rows


def memory(runner: Runner, rounds: int) -> list[Row]:
    """Peak memory against the bare loop in a process with the same imports."""
    imports = "lightning.pytorch,hydra,rich,mlflow,PIL.ImageDraw"
    values = []
    for _ in range(rounds):
        ours = runner.train("trainer.max_epochs=1", "test=false")[-1]["peak"]
        bare = runner.side("bare_loop", "--epochs", "1", "--imports", imports)[-1]["peak"]
        values.append(ours / bare)
    return [Row("peak memory against the bare loop with the same imports", "<= 1.3", values)]


def growth(runner: Runner, rounds: int) -> list[dict[str, Any]]:
    """1, 10 and 100 times the data; 0, 1, 2 and 4 loader workers."""
    points = []
    sizes = [600, 6_000] if runner.quick else [6_000, 59_999, 600_000]
    for size in sizes:
        data_dir = synthetic(runner.scratch / str(size), size)
        for workers in [0, 1, 2, 4] if size == sizes[1] else [0]:
            lines = runner.train(
                "trainer.max_epochs=1",
                "test=false",
                f"data.num_workers={workers}",
                f"data.val_size={size // 12}",
                "common/logger@logger=csv",
                data_dir=data_dir,
            )
            points.append(
                {
                    "images": size,
                    "workers": workers,
                    "epoch seconds": lines[0]["epoch"],
                    "seconds to the first step": lines[0]["first_step"] - lines[0]["launched"],
                    "memory MB": lines[0]["memory"] / 1e6,
                }
            )
    return points


def accuracy(runner: Runner, rounds: int) -> list[Row]:
    """Test accuracy of the experiment and of the stock recipe, over the same seeds."""
    epochs = 1 if runner.quick else 10
    quick = ["+trainer.limit_train_batches=15"] if runner.quick else []
    values: dict[str, list[float]] = {"ours": [], "stock": []}
    for seed in [12345, 0, 1, 2, 3][: max(rounds, 1)]:
        lines = runner.train(f"seed={seed}", f"trainer.max_epochs={epochs}", *quick)
        values["ours"].append(100 * lines[-1]["test/acc"])
        steps = ["--steps", "15"] if runner.quick else []
        settings = ["--epochs", str(epochs), "--seed", str(seed), "--test", *steps]
        lines = runner.side("stock_recipe", "--out", f"{runner.scratch}/{seed}", *settings)
        values["stock"].append(100 * lines[-1]["test/acc"])
    return [Row(f"test accuracy: {side}", "the same", v, "%") for side, v in values.items()]


def ratios(measured: dict[str, list[float]], side: str) -> list[float]:
    """Return ours against a side, round by round."""
    return [a / b for a, b in zip(measured["ours"], measured[side], strict=True)]


ALL: dict[str, Callable[[Runner, int], list[Any]]] = {
    "steps": steps,
    "tracking": tracking,
    "startup": startup,
    "sweep": sweep,
    "memory": memory,
    "growth": growth,
    "accuracy": accuracy,
}
