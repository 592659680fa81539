"""What each tracker is told about a run, whichever tracker it is."""

import hashlib
import json
import logging
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import OmegaConf

from src.runtime.config.plain_config import as_typed, flatten
from src.runtime.tracker.epoch_speed import EpochSpeed
from src.runtime.tracker.mlflow_delivery import without_password
from src.runtime.tracker.mlflow_logger import JournalMLFlowLogger
from src.runtime.tracker.mlflow_model import LogBestModel
from src.runtime.tracker.provenance import git_diff, provenance
from src.runtime.tracker.trackers import tell

STAGES = {"train": "data_train", "val": "data_val", "test": "data_test"}

log = logging.getLogger(__name__)


def callbacks(plain_config: dict[str, Any], loggers: Sequence[Logger]) -> list[Callback]:
    """Return the callbacks that tell the trackers what no model has to log itself."""
    if not loggers:
        return [RunParameters(plain_config)]
    wanted: list[Callback] = [RunParameters(plain_config), LearningRateMonitor(), EpochSpeed()]
    if any(isinstance(logger, JournalMLFlowLogger) and logger.log_model for logger in loggers):
        wanted.append(LogBestModel())
    return wanted


class RunParameters(Callback):
    """Log the configuration, the size of the model, what data the run uses, where it comes from.

    A datamodule that may stand in another dataset for its own says so by an attribute
    `substitute`: the name of the other dataset, or None.
    """

    def __init__(self, plain_config: dict[str, Any]) -> None:
        self.plain_config = plain_config
        self._logged = False

    @rank_zero_only
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log once; by now the datamodule is set up and knows what it holds."""
        if self._logged or not trainer.loggers:
            return
        self._logged = True
        origin = provenance() | {"device": str(trainer.strategy.root_device)}
        substitute = substitute_of(trainer)
        datasets = _datasets(trainer, self.plain_config, substitute)
        parameters = flatten(self.plain_config) | {
            "params/total": sum(p.numel() for p in pl_module.parameters()),
            "params/trainable": sum(p.numel() for p in pl_module.parameters() if p.requires_grad),
            "data/substitute": substitute,
            **{f"data/{data['context']}_size": data["size"] for data in datasets},
            **origin,
        }
        tags = dict.fromkeys(self.plain_config.get("tags", []), "true")
        if substitute:
            tags["data.substitute"] = substitute
        files = self._write_files(Path(trainer.default_root_dir))
        for logger in trainer.loggers:
            logger.log_hyperparams(parameters)
            more = _mlflow_tags(origin) if isinstance(logger, MLFlowLogger) else {}
            tell(logger, tags | more, files)
            if isinstance(logger, JournalMLFlowLogger):
                logger.record_datasets(datasets)

    def _write_files(self, folder: Path) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        texts = {"config.yaml": OmegaConf.to_yaml(OmegaConf.create(self.plain_config))}
        if self.plain_config.get("log_git_diff"):
            texts["git.diff"] = git_diff()
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        return [folder / name for name in texts]


def close(loggers: Sequence[Logger]) -> None:
    """Close the trackers that deliver in the background, and log what became of the run there."""
    for logger in loggers:
        if isinstance(logger, JournalMLFlowLogger) and (outcome := logger.close()):
            log.info(outcome)


def substitute_of(trainer: Trainer) -> str | None:
    """Return the name of the dataset that stands in for the one asked for, or None."""
    return getattr(trainer.datamodule, "substitute", None)  # ty: ignore[missing-attribute]


def open_command(loggers: Sequence[Logger]) -> str | None:
    """Return the command that opens the first tracker that has a page."""
    for logger in loggers:
        if isinstance(logger, MLFlowLogger):
            uri = without_password(str(logger._tracking_uri))
            return uri if uri.startswith("http") else f"mlflow ui --backend-store-uri {uri}"
        if isinstance(logger, TensorBoardLogger):
            return f"tensorboard --logdir {logger.log_dir}"
    return None


def _datasets(
    trainer: Trainer, plain_config: Mapping[str, Any], substitute: str | None
) -> list[dict[str, Any]]:
    """Describe the datasets that the datamodule holds; equal digests mean equal configurations."""
    datamodule = trainer.datamodule  # ty: ignore[missing-attribute]
    name = substitute or type(datamodule).__name__.removesuffix("DataModule")
    loading = ("batch_size", "eval_batch_size")
    config = {k: v for k, v in (plain_config.get("data") or {}).items() if k not in loading}
    described = []
    for stage, attribute in STAGES.items():
        if hasattr(data := getattr(datamodule, attribute, None), "__len__"):
            identity = json.dumps([name, stage, len(data), config], default=str, sort_keys=True)
            described.append(
                {
                    "name": name,
                    "context": stage,
                    "size": len(data),
                    "digest": hashlib.sha256(identity.encode()).hexdigest()[:8],
                    "source": json.dumps({"uri": str(config.get("data_dir", "embedded"))}),
                    "profile": json.dumps({"num_rows": len(data)}),
                }
            )
    return described


def _mlflow_tags(origin: Mapping[str, str]) -> dict[str, str]:
    """Return the tags from which MLflow's page takes the source of a run."""
    # Not all of `sys.argv`, which says more, for the processes that Lightning starts.
    typed = as_typed(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    command = shlex.join([sys.argv[0], *typed])
    tags = {"mlflow.source.type": "LOCAL", "mlflow.source.name": command}
    if commit := origin.get("git/commit"):
        tags["mlflow.source.git.commit"] = commit
    return tags
