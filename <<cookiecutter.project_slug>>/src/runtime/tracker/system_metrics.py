"""How busy the machine is: MLflow's own monitors of processors, memory, disk, network and GPUs."""

import importlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

from src.runtime.tracker.journal import Record

MONITORS = {  # of mlflow.system_metrics.metrics
    "cpu_monitor": "CPUMonitor",
    "disk_monitor": "DiskMonitor",
    "network_monitor": "NetworkMonitor",
    "gpu_monitor": "GPUMonitor",
}

log = logging.getLogger(__name__)


def samples(started: int, seconds: float, ended: threading.Event) -> Iterator[Record]:
    """Yield a record for the journal every so often, until `ended`.

    Args:
        started: when the run started, in milliseconds since 1970; a step is a second after that.
        seconds: between two samples.
        ended: set when the run has ended.
    """
    monitors = _monitors()
    while monitors and not ended.wait(seconds):
        sample: dict[str, float] = {}
        for monitor in monitors:
            monitor.collect_metrics()
            sample |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        now = int(time.time() * 1000)
        metrics = {f"system/{name}": float(value) for name, value in sample.items()}
        yield {"metrics": metrics, "step": (now - started) // 1000, "time": now}


def _monitors() -> list[Any]:
    monitors = []
    for module, name in MONITORS.items():
        try:
            found = importlib.import_module(f"mlflow.system_metrics.metrics.{module}")
            monitors.append(getattr(found, name)())
        except Exception as error:  # psutil or a GPU is missing
            log.info("No %s: %s", name, error)
    return monitors
