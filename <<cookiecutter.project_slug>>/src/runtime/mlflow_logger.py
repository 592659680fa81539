"""The logger to MLflow. It writes to the run folder; `mlflow_upload.py` brings that to MLflow."""

import json
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image  # installed with matplotlib

from src.runtime.loggers import AnyExperiment, JSONLinesLogger
from src.runtime.mlflow_run import DESCRIPTION, STATE, storable_uri
from src.runtime.mlflow_upload import ensure_uploader_is_running
from src.runtime.project import is_sweep_job, override_list, read_json, write_json

MOST_PARAMS = 40
# Names by which runs are not compared, wherever they stand; `config.yaml` has them all.
NOT_COMPARED = (
    *("task_name", "tags", "train", "test", "ckpt_path", "init_from", "sweep_name", "paths"),
    *("optimized_metric", "monitor", "mode", "metrics", "callbacks", "logger", "hydra"),
    *("data_dir", "num_workers", "pin_memory", "persistent_workers", "prefetch_factor"),
    *("default_root_dir", "accelerator", "devices", "min_epochs"),
)


class MLflowLogger(JSONLinesLogger, MLFlowLogger):
    """Log to files in the run folder, which a separate process uploads to MLflow.

    Args:
        save_dir: the run folder.
        experiment_name: name of MLflow's experiment.
        tracking_uri: `sqlite:///PATH` or `http://HOST:PORT`; a password in it is not written down.
            A run that is resumed stays in the store where it was started.
        run_name: name of the run; by default its folder, in a sweep what differs between the jobs.
        tags: names, each of which becomes a tag with the value `true`.
    """

    def __init__(
        self,
        save_dir: str,
        experiment_name: str,
        tracking_uri: str,
        run_name: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> None:
        super().__init__(save_dir)  # Lightning's own would import MLflow
        self.client: RunFolderClient | None = None
        self.params: dict[str, str] = {}
        self.tags = {str(tag): "true" for tag in tags or ()}
        self.description = {
            "key": secrets.token_hex(8),
            "experiment_name": experiment_name,
            "run_name": run_name or default_run_name(self.run_dir),
            "tracking_uri": storable_uri(tracking_uri),
        }

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """A client with `MlflowClient`'s `log_*` methods; its first access starts the uploader.

        The trainer asks for it before its first step, which starts the upload.
        """
        if self.client is None:
            self.client = RunFolderClient(self)
            self.append_row(tags=self.tags)
            path = self.run_dir / DESCRIPTION
            try:
                if not path.exists():  # else a resume, which stays in its store
                    write_json(path, self.description)
                ensure_uploader_is_running(self.run_dir)
            except OSError as error:
                self.warn_once("MLflow gets nothing of this run", error)
        return self.client

    @property
    def experiment_id(self) -> str | None:
        """Return MLflow's id of the experiment, or None before the first upload."""
        return read_json(self.run_dir / STATE).get("experiment_id")

    @property
    def run_id(self) -> str | None:
        """Return MLflow's run id, or None before the first upload."""
        return read_json(self.run_dir / STATE).get("run_id")

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Write the hyperparameters that help to compare runs to the run folder, for upload."""
        self.params |= params_to_compare(params if isinstance(params, Mapping) else vars(params))
        self.append_row(params=dict([*self.params.items()][:MOST_PARAMS]))

    def finalize(self, status: str = "success") -> None:
        """Do nothing: the uploader ends the MLflow run with the status from `run.json`."""

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Do nothing, because `run.json` names the best checkpoint."""


class RunFolderClient:
    """Provide the `log_*` methods of `MlflowClient`, writing to the run folder.

    A call that fails, or that is not there, is a warning, once. Its `run_id` is ignored. Calls of
    other trackers are accepted, and do nothing.

    Args:
        logger: of the run.
    """

    def __init__(self, logger: JSONLinesLogger) -> None:
        self.logger = logger
        self.log_dir = logger.log_dir

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a method that never raises."""
        if name.startswith("_"):
            raise AttributeError(f"there is no {name.lstrip('_')} here")
        if not hasattr(type(self), f"_{name}"):
            self.logger.warn_once(f"logger.experiment.{name} does nothing", "MLflow has none")
            return AnyExperiment(self.log_dir)

        def call(*args: Any, **kwargs: Any) -> None:
            try:
                getattr(self, f"_{name}")(*args, **kwargs)
            except Exception as error:  # any: a wrong argument, a full disk
                self.logger.warn_once(f"MLflow gets nothing of logger.experiment.{name}", error)

        return call

    def _log_metric(
        self, run_id: Any, key: str, value: Any, timestamp: Any = None, step: int | None = None
    ) -> None:
        """Log a metric, with the time of now."""
        self.logger.log_metrics({key: value}, step)

    def _log_param(self, run_id: Any, key: str, value: Any) -> None:
        """Log a parameter."""
        self.logger.append_row(params={key: str(value)})

    def _set_tag(self, run_id: Any, key: str, value: Any) -> None:
        """Set a tag."""
        self.logger.append_row(tags={key: str(value)})

    def _log_text(self, run_id: Any, text: str, artifact_file: str) -> None:
        """Log a text as a file."""
        self._path(artifact_file).write_text(text, encoding="utf-8")

    def _log_dict(self, run_id: Any, dictionary: Any, artifact_file: str) -> None:
        """Log plain data as a JSON file."""
        self._log_text(run_id, json.dumps(dictionary, indent=2, default=str), artifact_file)

    def _log_figure(self, run_id: Any, figure: Any, artifact_file: str) -> None:
        """Log a matplotlib figure."""
        figure.savefig(self._path(artifact_file))

    def _log_image(
        self, run_id: Any, image: Any, artifact_file: str = "", key: str = "", step: int = 0
    ) -> None:
        """Log an image, `(H, W)` or `(H, W, C)` as uint8 or as floats from 0 to 1, or PIL's.

        Without `artifact_file` it is one of the series `key`, with a `step` each.
        """
        if isinstance(image, np.ndarray):
            scale = 255 if image.dtype.kind == "f" else 1
            pixels = (image * scale).clip(0, 255).astype(np.uint8)
            image = Image.fromarray(pixels.squeeze())
        if artifact_file:
            image.save(self._path(artifact_file))
        else:
            image.save(self._path(f"{key.replace('/', '_')}_step_{step}.png", "images"))

    def _log_artifact(self, run_id: Any, local_path: str, artifact_path: str = "") -> None:
        """Log a copy of a file or of a folder, below `artifact_path`."""
        source = Path(local_path)
        target = self._path(str(Path(artifact_path, source.name)))
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)

    def _path(self, name: str, folder: str = "artifacts") -> Path:
        path = self.logger.run_dir / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def default_run_name(run_dir: Path) -> str:
    """Return the overrides that differ between jobs of a sweep, or the folder name.

    What a sweep varies is what the command line did not say literally.
    """
    overrides = override_list(HydraConfig.get().overrides.task) if is_sweep_job() else []
    return " ".join(text for text in overrides if text not in sys.argv) or run_dir.name


def params_to_compare(node: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a flat dictionary of the parameters that are useful for comparing runs.

    The class of a node stands under the name of the node.
    """
    params: dict[str, str] = {}
    for name, value in node.items():
        if name in NOT_COMPARED or str(value) in ("None", "???"):
            continue
        if isinstance(value, Mapping):
            params |= params_to_compare(value, f"{prefix}{name}.")
        elif name == "_target_":
            params[prefix.rstrip(".")] = str(value).rpartition(".")[2]
        elif not str(name).startswith("_"):
            params[f"{prefix}{name}"] = str(value)
    return params
