"""What a configuration says of MLflow, before anything is built of it."""

from pathlib import Path

from omegaconf import DictConfig

from src.runtime.process import ranks
from src.runtime.tracker.mlflow_process import MLflowProcess

LOGGER = "src.runtime.tracker.mlflow_logger.JournalMLFlowLogger"


def nodes(cfg: DictConfig) -> list[DictConfig]:
    """Return the nodes of the loggers to MLflow."""
    loggers = (cfg.get("logger") or {}).values()
    return [node for node in loggers if node is not None and node.get("_target_") == LOGGER]


def start_ahead(cfg: DictConfig) -> None:
    """Start the process that delivers to MLflow, for a run that has yet to import torch."""
    if ranks.global_rank() > 0:
        return
    for node in nodes(cfg):
        folder = Path(node.save_dir).resolve() / "mlflow"
        models = bool(cfg.get("train") and node.get("log_model", True))
        MLflowProcess.of(node.tracking_uri).start_ahead(folder, models)
