"""The logger to MLflow. It writes to the run folder; `mlflow_upload.py` brings that to MLflow."""

import json
import logging
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image  # installed with matplotlib

from src.runtime.loggers import FolderLogger, append, row_as_line
from src.runtime.mlflow_run import DESCRIPTION, METRICS, STATE, store_of
from src.runtime.mlflow_upload import request_upload
from src.runtime.project import as_typed, read_json, write_json

log = logging.getLogger(__name__)

MOST_PARAMS, LONGEST_VALUE = 40, 500
# Keys by which runs are not compared; `config.yaml` has them all.
NOT_COMPARED = re.compile(
    r"(task_name|tags|train|test|ckpt_path|init_from|sweep_name|optimized_metric|monitor|mode"
    r"|paths|callbacks|logger|hydra|model\.metrics)\b"
    r"|trainer\.(?!max_epochs|max_steps|precision|accumulate_grad_batches|gradient_clip_val)"
    r"|.*\.(num_workers|pin_memory|persistent_workers|prefetch_factor|eval_batch_size|\w+_dir"
    r"|num_classes|in_channels|offline_fallback|compile|fused|foreach|lr_(interval|monitor"
    r"|frequency)|mode|_(?!target_)\w+)$"
)


class MLflowLogger(FolderLogger, MLFlowLogger):
    """Log to MLflow by way of the run folder; `isinstance(logger, MLFlowLogger)` holds.

    Args:
        save_dir: the run folder.
        experiment_name: name of MLflow's experiment.
        tracking_uri: `sqlite:///PATH` or `http://HOST:PORT`; a password in it is not written down.
        run_name: name of the run; by default its folder, in a sweep what differs between the jobs.
        tags: names and values, or a list of names.
        artifact_location: where files go; by default beside an SQLite file. A server decides.
        log_model: upload the best checkpoint at the end.
        patience: seconds without progress that the end of the run waits for the upload.
    """

    def __init__(
        self,
        save_dir: str,
        experiment_name: str,
        tracking_uri: str,
        run_name: str | None = None,
        tags: Mapping[str, Any] | Sequence[str] | None = None,
        artifact_location: str | None = None,
        log_model: bool = True,
        patience: float = 15.0,
    ) -> None:
        super().__init__(save_dir)  # Lightning's own would import MLflow
        named = tags if isinstance(tags, Mapping) else dict.fromkeys(tags or (), "true")
        self.patience = patience
        self.client = SafeClient(FolderClient(self.run_dir))
        self.is_registered = False
        self.description: dict[str, Any] = {
            "key": secrets.token_hex(8),
            "experiment_name": experiment_name,
            "run_name": run_name or default_run_name(self.run_dir),
            "log_model": log_model,
            "tags": {str(name): str(value) for name, value in named.items()},
        } | store_of(tracking_uri, artifact_location)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """What stands in for `MlflowClient`: its `log_*` methods, which write to the run folder."""
        if not self.is_registered:
            self.log_hyperparams({})
        return self.client

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None while it has none."""
        return read_json(self.run_dir / STATE).get("run_id")

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Note the parameters that one would compare; the first call starts the upload."""
        given = params if isinstance(params, Mapping) else vars(params)
        self.attempt(lambda: self._register(comparable_params(given)))

    def finalize(self, status: str = "success") -> None:
        """Do nothing: `run.json` has the status."""

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Do nothing: `run.json` names the best one."""

    def _register(self, params: dict[str, str]) -> None:
        """Write `mlflow.json`, which a resume finds; the first time, have it uploaded."""
        earlier = read_json(self.run_dir / DESCRIPTION)
        self.description |= {"key": earlier.get("key", self.description["key"])}
        known = earlier.get("params", {}) | params
        self.description["params"] = dict(list(known.items())[:MOST_PARAMS])
        write_json(self.run_dir / DESCRIPTION, self.description)
        if not self.is_registered:
            self.is_registered = True
            request_upload(self.run_dir)


class FolderClient:
    """Logging methods of MLflow's client, for one run: they write to its folder.

    Args:
        run_dir: folder of the run. The `run_id` of a call is ignored.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    def log_metric(
        self, run_id: Any, key: str, value: float, timestamp: Any = None, step: Any = None, **_: Any
    ) -> None:
        """Log a metric."""
        time = {"time": timestamp} if timestamp else {}
        self._row(**time, step=step or 0, metrics={key: float(value)})

    def log_param(self, run_id: Any, key: str, value: Any, **_: Any) -> None:
        """Log a parameter."""
        self._row(params={key: str(value)[:LONGEST_VALUE]})

    def set_tag(self, run_id: Any, key: str, value: Any, **_: Any) -> None:
        """Set a tag."""
        self._row(tags={key: str(value)[:LONGEST_VALUE]})

    def log_batch(
        self, run_id: Any, metrics: Any = (), params: Any = (), tags: Any = (), **_: Any
    ) -> None:
        """Log objects of `mlflow.entities`."""
        for metric in metrics:
            self.log_metric(run_id, metric.key, metric.value, metric.timestamp, metric.step)
        self._row(params={param.key: str(param.value) for param in params})
        self._row(tags={tag.key: str(tag.value) for tag in tags})

    def log_text(self, run_id: Any, text: str, artifact_file: str) -> None:
        """Log a text as a file."""
        self._path(artifact_file).write_text(text, encoding="utf-8")

    def log_dict(self, run_id: Any, dictionary: Any, artifact_file: str) -> None:
        """Log plain data as a JSON file."""
        self.log_text(run_id, json.dumps(dictionary, indent=2, default=str), artifact_file)

    def log_figure(self, run_id: Any, figure: Any, artifact_file: str, **_: Any) -> None:
        """Log a matplotlib figure."""
        figure.savefig(self._path(artifact_file))

    def log_image(
        self,
        run_id: Any,
        image: Any,
        artifact_file: str | None = None,
        key: str | None = None,
        step: int | None = None,
        **_: Any,
    ) -> None:
        """Log an image, `(H, W)` or `(H, W, C)` as uint8 or as floats from 0 to 1, or PIL's.

        With a `key` it is one of a series, with a `step` each.
        """
        if isinstance(image, np.ndarray):
            is_float = np.issubdtype(image.dtype, np.floating)
            pixels = (image.clip(0, 1) * 255 if is_float else image).astype(np.uint8)
            image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[2:] == (1,) else pixels)
        if artifact_file is not None:
            image.save(self._path(artifact_file))
            return
        series = f"{str(key).replace('/', '_')}_step_{step or 0}.png"
        image.save(self._path(series, self.run_dir / "images"))

    def log_artifact(
        self, run_id: Any, local_path: str | Path, artifact_path: str | None = None
    ) -> None:
        """Log a copy of a file or of a folder, below `artifact_path`."""
        source = Path(local_path)
        target = self._path(f"{artifact_path or ''}/{source.name}")
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)

    def log_artifacts(
        self, run_id: Any, local_dir: str | Path, artifact_path: str | None = None
    ) -> None:
        """Log copies of what a folder holds, below `artifact_path`."""
        shutil.copytree(local_dir, self._path(artifact_path or "."), dirs_exist_ok=True)

    def _row(self, **row: Any) -> None:
        append(self.run_dir / METRICS, row_as_line(**row))

    def _path(self, name: str, folder: Path | None = None) -> Path:
        parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..")]
        path = (folder or self.run_dir / "artifacts").joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class SafeClient:
    """Passes calls on to a client; one that fails, or that it does not have, is a warning, once.

    Args:
        client: where calls go.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self.warned: set[str] = set()

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return a method that never raises."""
        if name.startswith("__"):
            raise AttributeError(name)  # copy and pickle ask for these

        def call(*args: Any, **kwargs: Any) -> None:
            try:
                getattr(self.client, name)(*args, **kwargs)
            except Exception as error:  # any: a wrong argument, a full disk
                if name not in self.warned:
                    self.warned.add(name)
                    log.warning("MLflow gets nothing of logger.experiment.%s: %s", name, error)

        return call


def default_run_name(run_dir: Path) -> str:
    """Return what differs between this job and the others of its sweep; else experiment and folder.

    What a sweep varies is what the command line did not say literally.
    """
    if not HydraConfig.initialized():
        return run_dir.name
    hydra = HydraConfig.get()
    if run_dir.parent.parent.name != "multiruns":
        return f"{hydra.runtime.choices.get('experiment') or ''} {run_dir.name}".strip()
    varied = [override for override in as_typed(hydra.overrides.task) if override not in sys.argv]
    return " ".join(varied) or run_dir.name


def comparable_params(node: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the parameters in a configuration that one would compare runs by.

    The class of a node stands under the name of the node.
    """
    params: dict[str, str] = {}
    for name, value in node.items():
        key = f"{prefix}{name}"
        if NOT_COMPARED.match(key) or str(value) in ("None", "???"):
            continue
        if isinstance(value, Mapping):
            params |= comparable_params(value, f"{key}.")
        elif name == "_target_":
            params[prefix.rstrip(".")] = str(value).rpartition(".")[2]
        else:
            params[key] = str(value)[:LONGEST_VALUE]
    return params
