"""The checkpoint of a run that only MLflow still has."""

import os
from pathlib import Path


def download(run_id: str, log_dir: str | Path) -> Path:
    """Download the checkpoint that a run logged with its best model, to a temporary folder.

    Raises:
        ValueError: if MLflow knows no such run, or the run logged no checkpoint.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{log_dir}/mlflow/mlflow.db"
    mlflow.set_tracking_uri(uri)
    try:
        run = mlflow.get_run(run_id)
    except mlflow.MlflowException as error:
        raise ValueError(f"ckpt_path={run_id}: MLflow at {uri} knows no such run") from error
    for output in run.outputs.model_outputs if run.outputs else []:
        folder = mlflow.artifacts.download_artifacts(f"models:/{output.model_id}")
        for path in sorted(Path(folder).rglob("*.ckpt")):
            return path
    raise ValueError(f"ckpt_path={run_id}: the run logged no checkpoint to MLflow at {uri}")
