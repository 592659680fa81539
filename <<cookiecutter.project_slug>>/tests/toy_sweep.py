"""An entry point like `src/train.py`, without the training: a job is over in no time."""

import os
import signal
import time
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from src.runtime import cli, hydra_versions, record

CONFIG = {
    "task_name": "toy",
    "x": 0,
    "bad": None,  # the job with this x fails
    "deadly": None,  # the job with this x is killed
    "seconds": 0.0,  # how long a job takes
    "lines": "???",  # file that each job adds a line to
    "log_dir": "???",
    "sweep_name": "grid",
    "optimized_metric": "val/acc",
    "hydra": {
        "sweep": {"dir": "${log_dir}/${sweep_name}"},
        "callbacks": {"sweep": {"_target_": "src.runtime.sweep.sweeps.Sweep"}},
    },
}
ConfigStore.instance().store(name="toy", node=CONFIG)


@hydra.main(config_path=None, config_name="toy", **hydra_versions.MAIN)
def main(cfg: DictConfig) -> float:
    """Record a result as a run does."""
    hydra_config = HydraConfig.get()
    run_dir = hydra_config.runtime.output_dir
    known = {"task": "toy", "overrides": list(hydra_config.overrides.task), "metrics": {}}
    with record.held(run_dir):
        record.write(run_dir, known | {"status": "running"})
        with Path(cfg.lines).open("a") as file:
            file.write(f"{hydra_config.job.num} {cfg.x}\n")
        time.sleep(cfg.seconds)
        if cfg.x == cfg.bad:
            raise ValueError(f"x={cfg.x} is bad")
        if cfg.x == cfg.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        record.update(run_dir, status="finished", metrics={"val/acc": cfg.x / 10})
    return cfg.x / 10


if __name__ == "__main__":
    cli.run(main, "toy")
