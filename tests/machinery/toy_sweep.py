"""A job that records itself as a training does, and is over at once: `toy_sweep.py -m x=1,2`.

It appends `FOLDER X` to `lines` in `paths.log_dir` for each start that is not answered from a
record. Of the environment: the jobs with x=`TOY_BAD` fail (`all`: each), the one in the folder
`TOY_DEADLY` is killed, and each takes `TOY_SECONDS`.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ["PROJECT"])

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from src.runtime import run_folder, sweeps
from src.runtime.project import (
    CONFIGS,
    MAIN_ARGUMENTS,
    override_list,
    prepare_environment,
    register_resolver,
)

prepare_environment()
run_folder.register_run_resolvers()
register_resolver("job_dir", sweeps.assign_job_folder_name, replace=True)

CONFIG: dict[str, Any] = {
    "task_name": "toy",
    "x": 0.0,
    "kind": "a",
    "seed": None,
    "paths": {"log_dir": "???"},
    "sweep_name": "${run_id:}",
    "optimized_metric": "val/acc",
    "hydra": {
        "job_logging": {"root": {"handlers": ["console"]}},
        "sweep": {
            "dir": "${paths.log_dir}/toy/multiruns/${sweep_name}",
            "subdir": "${job_dir:${hydra.sweep.dir},${hydra.job.num},${hydra.overrides.task}}",
        },
        "sweeper": {"params": {}},
        "callbacks": {"sweep": {"_target_": "src.runtime.sweeps.SweepCallback"}},
    },
}
ConfigStore.instance().store(name="toy", node=CONFIG)


def job(cfg: DictConfig) -> Any:
    """Record `val/acc` = x as a run does, and return it."""
    if (metrics := sweeps.stored_metrics_of_this_job()) is not None:
        return sweeps.optimized_value(cfg, metrics)
    hydra_config = HydraConfig.get()
    run_dir = Path(hydra_config.runtime.output_dir)
    claim = run_folder.Claim.acquire(run_dir)
    start = {
        "started": run_folder.iso_now(),
        "overrides": override_list(hydra_config.overrides.task),
    }
    run_folder.update_run(run_dir, **start, status="running", metrics={}, error=None)
    with Path(cfg.paths.log_dir, "lines").open("a") as file:
        file.write(f"{run_dir.name} {cfg.x}\n")
    time.sleep(float(os.environ.get("TOY_SECONDS", 0)))
    if os.environ.get("TOY_BAD") in ("all", str(cfg.x)):
        run_folder.update_run(run_dir, status="failed", error=f"ValueError: x={cfg.x} is bad")
        claim.release()
        raise ValueError(f"x={cfg.x} is bad")
    if os.environ.get("TOY_DEADLY") == run_dir.name:
        os.kill(os.getpid(), signal.SIGKILL)
    metrics = {"val/acc": cfg.x, "val/loss": 1 - cfg.x}
    run_folder.update_run(run_dir, status="finished", metrics=metrics, monitor="val/loss")
    claim.release()
    return sweeps.optimized_value(cfg, metrics)


def main(*argv: str) -> None:
    """Run a command line in this process; errors of jobs are raised."""
    before, sys.argv = sys.argv, ["toy_sweep.py", *argv]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise errors
    GlobalHydra.instance().clear()
    try:
        hydra.main(str(CONFIGS), "toy", **MAIN_ARGUMENTS)(job)()
    finally:
        sys.argv = before
        del os.environ["HYDRA_FULL_ERROR"]


if __name__ == "__main__":
    import toy_sweep  # so that launchers find `job` by its name

    toy_sweep.main(*sys.argv[1:])
