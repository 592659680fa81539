"""The pairs of a module and a datamodule that are tried, and what their YAML files hold."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra.core.config_store import ConfigStore
from lightning.pytorch import Callback
from lightning_case import ADAM, MONITOR, NET, PARTIAL_ADAM, SAMPLES, Case, case
from lightning_more_cases import MORE_CASES
from omegaconf import DictConfig, open_dict

from src.runtime.check import invalid_target_messages, invalid_value_messages
from src.runtime.checkpoint_config import targets_in_config_files
from src.runtime.overrides import choices_by_group, compose
from src.runtime.project import CONFIGS, quote_value

CASES: dict[str, Case] = {
    # what is there, and what is not
    "ordinary": case("Classifier", "PlainData", *MONITOR),
    "images": case("ImageClassifier", "ImageData", *MONITOR),
    "only training": case("OnlyTraining", "NoValidation", has_test=False),
    "only training, other loaders": case("OnlyTraining", has_test=False),
    "no test step": case("NoTestStep", "ImageData", has_test=False),
    "no forward": case("NoForward", "ImageData"),
    "forward(x, y)": case("ForwardOfTwo", "ImageData"),
    "forward(batch)": case("ForwardOfBatch", "DictData"),
    "tuples from forward": case("TupleOutputs", "ImageData"),
    "own loaders": case("OwnLoaders", None, *MONITOR),
    "own train loader": case("OwnTrainLoader", None, has_test=False),
    "own train loader, other data": case("OwnTrainLoader", "PlainData", has_test=False),
    "lazy layers": case("Lazy"),
    "lazy layers, from setup": case("LazyFromSetup"),
    "configure_model": case("ConfigureModel"),
    "layers from setup": case(
        "BuiltInSetup", "SetupData", data_keys={"data_dir": "${paths.data_dir}"}
    ),
    "compiled": case("Compiled", "PlainData", *MONITOR),
    "compiled in setup": case("CompiledInSetup"),
    "nested modules": case("Nested", "PlainData", *MONITOR),
    "tied and parametrized weights": case("Tied"),
    # arguments and hyperparameters
    "hparams of everything": case(
        "HparamsOfEverything",
        "HparamsData",
        model_keys={"net": NET, "optimizer": PARTIAL_ADAM, "folder": "a"},
        data_keys={
            "transform": {"_target_": "torch.nn.Identity"},
            "augment": {"_target_": "torch.flip", "_partial_": True, "dims": [0]},
        },
    ),
    "hparams of objects": case("HparamsOfObjects"),
    "optional arguments": case("OptionalArguments", model_keys={"dropout": None, "net": None}),
    "_recursive_: false": case(
        "BuildsItself", model_keys={"_recursive_": False, "net": NET, "optimizer": ADAM}
    ),
    "any arguments": case("AnyArguments", model_keys={"_args_": [1, 2], "depth": 3}),
    "sizes from the data": case(
        "NeedsSizes", "SizedData", model_keys={"num_features": "???", "num_classes": "???"}
    ),
    # optimization
    "two optimizers by hand": case("ByHand"),
    "accumulation by hand": case("AccumulatesByHand"),
    "LBFGS": case("LBFGS"),
    "no optimizer": case("NoOptimizer"),
    "parameter groups": case("Groups"),
    "scheduler by step": case("EachStep"),
    "scheduler by epoch": case("EachEpoch"),
    "scheduler on plateau": case("Plateau", "PlainData", *MONITOR),
    "scheduler on plateau of training": case("PlateauOfTraining", "NoValidation", has_test=False),
    "schedulers of functions": case("Lambdas"),
    "own lr_scheduler_step": case("SchedulerStep"),
    "hooks of optimization": case("Hooks"),
    "skipped batches": case("SkipsBatches"),
    "weight averaging": case("Average"),
    "fine-tuning": case("FineTuned"),
    # callbacks, metrics and logging
    "configure_callbacks": case("OwnCallbacks", "PlainData", "logger=csv"),
    "searches before training": case("SearchesBefore"),
    "monitored, logged by a callback": case(
        "MonitoredByCallback", "PlainData", "monitor=callback_score"
    ),
    "monitored, logged by a mixin": case("MonitoredByMixin", "PlainData", "monitor=val_acc"),
    "metric collections": case("Collections", "PlainData", "monitor=val/best_loss", "mode=min"),
    "metrics of steps and epochs": case(
        "StepAndEpoch", "PlainData", "monitor=train/loss_epoch", "mode=min"
    ),
    "metrics that are not finite": case("NotFinite", "PlainData", *MONITOR),
    "collected outputs": case("CollectsOutputs", "PlainData"),
    # batches
    "batches: dict": case("OfDicts", "DictData"),
    "batches: dataclass": case("OfObjects", "DataclassData"),
    "batches: graph": case("OfObjects", "GraphData"),
    "batches: named tuple": case("OfObjects", "NamedTupleData"),
    "batches: nested": case("OfNested", "NestedData"),
    "batches: numbers": case("OfNumbers", "NumbersData"),
    "batches: sequences": case("OfSequences", "PaddedData"),
    "batches: no labels": case("Autoencoder", "UnlabelledData"),
    "batches: text": case("OfText", "TextData", has_test=False),
    "labels outside of the classes": case("ImageClassifier", "IgnoredLabels", *MONITOR),
    "labels of pixels": case("Segmenter", "SegmentationData"),
    "own transfer": case("Classifier", "LateTransfer"),
    # loaders
    "worker processes": case("Classifier", "WorkerData"),
    "iterable without length": case("Classifier", "IterableData", *MONITOR),
    "any iterable": case("Classifier", "OwnIterableData"),
    "two validation loaders": case(
        "StepAndEpoch", "TwoValidationSets", "monitor=val/loss/dataloader_idx_0", "mode=min"
    ),
    "named validation loaders": case(
        "NamedSets", "NamedValidationSets", "monitor=val/noisy", "mode=min"
    ),
    "combined validation": case("OfCombined", "CombinedValidation"),
    "combined training": case("OfTwoLoaders", "CombinedTraining"),
    "combined training, min_size": case(
        "OfTwoLoaders", "CombinedTraining", data_keys={"mode": "min_size"}
    ),
    "dict of loaders": case("OfTwoLoaders", "DictOfLoaders"),
    "list of loaders": case("OfTwoLoaders", "ListOfLoaders"),
    "the loader's iterator": case("OfIterator", "NoValidation", has_test=False),
    "no test set": case("Classifier", "NoValidation", has_test=False),
    "validation: empty list": case("Classifier", "EmptyListValidation"),
    "validation: empty set": case("Classifier", "EmptyValidationSet"),
    "growing data": case("Classifier", "GrowingData"),
    "samplers": case("Classifier", "SamplerData"),
    # state
    "from_datasets": Case(
        {"_target_": "lightning_code.Classifier"},
        {
            "_target_": "lightning.pytorch.LightningDataModule.from_datasets",
            **{f"{kind}_dataset": SAMPLES for kind in ("train", "val", "test")},
            "batch_size": 8,
        },
    ),
    "fitted data": case("Classifier", "FittedData"),
    "additions to the checkpoint": case("AddsToCheckpoint"),
    "a part of the weights": case("PartOfWeights"),
    "a size from the checkpoint": case("Grows"),
    "extra state": case("ExtraState"),
    "state of a callback": case("WithStatefulCallback"),
    "a project's own base class": case("OwnBase"),
} | MORE_CASES


class Stop(Exception):
    """What stops a run, as `kill -9` does: without a checkpoint of its own."""


class Watch(Callback):
    """Note where training begins; stop it in its second epoch."""

    first_step: int | None = None

    def __init__(self, stop: bool = False) -> None:
        self.stop = stop

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, idx: int) -> None:
        if Watch.first_step is None:
            Watch.first_step = trainer.global_step
        if self.stop and trainer.current_epoch == 1 and idx == 1:
            raise Stop


def file_name(name: str) -> str:
    """Return the name of the two YAML files of a case."""
    return "lightning_code_" + "".join(c if c.isalnum() else "_" for c in name)


@pytest.fixture(scope="module")
def yaml_files() -> Iterator[None]:
    """Write the two YAML files of each case into the project, as their owner would."""
    files = {}
    for name, found in CASES.items():
        files[CONFIGS / "model" / f"{file_name(name)}.yaml"] = found.model
        if found.data:
            files[CONFIGS / "data" / f"{file_name(name)}.yaml"] = found.data
    for path, node in files.items():
        path.write_text(yaml.safe_dump(node))
    forget_files()
    torch.set_num_threads(1)
    yield
    for path in files:
        path.unlink()
    forget_files()


def forget_files() -> None:
    """Let the project look at its YAML files again."""
    choices_by_group.cache_clear()
    targets_in_config_files.cache_clear()


def composed(name: str, log_dir: Path, *overrides: str, stop: bool = False) -> DictConfig:
    """Compose the configuration of a case, as it is typed."""
    found = CASES[name]
    data = file_name(name) if found.data else "none"
    typed = [f"data={data}", f"model={file_name(name)}", "logger=none", *found.overrides]
    typed += [
        f"paths.log_dir={quote_value(log_dir)}",
        f"paths.data_dir={quote_value(log_dir / 'data')}",
    ]
    cfg = compose("train", *typed, "trainer.max_epochs=2", "trainer.accelerator=cpu", *overrides)
    assert [*invalid_value_messages(cfg), *invalid_target_messages(cfg)] == []
    if cfg.callbacks is not None:
        with open_dict(cfg):
            cfg.callbacks.watch = {"_target_": f"{__name__}.Watch", "stop": stop}
    Watch.first_step = None
    return cfg


def run_folder(log_dir: Path) -> Path:
    """Return the folder of the only run."""
    (folder,) = (log_dir / "train" / "runs").iterdir()
    return folder


def checkpoints(folder: Path) -> list[dict[str, Any]]:
    """Read all checkpoints of a run as plain data."""
    files = sorted((folder / "checkpoints").glob("*.ckpt"))
    return [torch.load(file, weights_only=True) for file in files]


def evaluation(folder: Path, log_dir: Path) -> DictConfig:
    """Compose the evaluation of a run, as the first of this process."""
    store = ConfigStore.instance()  # else it holds what an earlier command line has stored
    store.store(group="checkpoint", name="config", node={}, package="_global_")
    paths = (
        f"paths.log_dir={quote_value(log_dir)}",
        f"paths.data_dir={quote_value(log_dir / 'data')}",
    )
    return compose("eval", f"ckpt_path={quote_value(folder)}", *paths, "trainer.accelerator=cpu")
