"""Several processes of one run: which one this is, and one command a job in a sweep.

Lightning, torchrun and srun each start the same command once a process. Rank 0 owns the run
folder; the others share it and write neither log nor `.hydra`. Imports no torch.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from src.runtime import project
from src.runtime.project import ConfigError, is_sweep_job, override_list, quote_value
from src.runtime.run_folder import read_run


def is_started_by_launcher() -> bool:
    """Return whether torchrun or srun started this process as one of several."""
    several = int(os.environ.get("SLURM_NTASKS", 1)) > 1
    is_srun = several and "SLURM_STEP_ID" in os.environ  # which a batch script itself has not
    return is_srun or "TORCHELASTIC_RUN_ID" in os.environ


def global_rank() -> int:
    """Return the global rank of this process, without importing torch."""
    if is_started_by_launcher():
        return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0)))
    return int(os.environ.get("LOCAL_RANK", 0)) + int(os.environ.get("NODE_RANK", 0))


def disable_hydra_files_unless_rank_zero(argv: Sequence[str]) -> list[str]:
    """Return the arguments, with Hydra's file output disabled unless this is rank 0.

    Raises:
        ConfigError: for a sweep under torchrun or srun, where every process would run all of it.
    """
    if is_started_by_launcher() and {"-m", "--multirun"} & set(argv):
        why = "each process would run all of its jobs"
        raise ConfigError(f"a sweep cannot run under torchrun or srun: {why}. Start it with python")
    if global_rank() == 0:
        return list(argv)
    return [*argv, "hydra/job_logging=stdout", "hydra.output_subdir=null"]


def needs_subprocess(cfg: DictConfig) -> bool:
    """Return whether this sweep job needs a subprocess, as it starts several processes.

    Lightning starts them by repeating the command line: in a sweep, the whole sweep.
    """
    if not is_sweep_job() or cfg.trainer.get("devices") == 1:
        return False
    # What `auto` means is known once a trainer is built.
    keys = ("_target_", "accelerator", "devices", "strategy", "num_nodes")
    devices = {key: cfg.trainer[key] for key in keys if key in cfg.trainer}
    trainer = project.instantiate(devices, logger=False, enable_checkpointing=False)
    environment = getattr(trainer.strategy, "cluster_environment", None)
    is_external = getattr(environment, "creates_processes_externally", True)
    return trainer.world_size > 1 and not is_external


def run_job_in_subprocess(cfg: DictConfig) -> dict[str, float]:
    """Run this sweep job in a subprocess, and return its metrics.

    Raises:
        ConfigError: if it failed; its folder says why.
        Interrupted: if a signal ended it.
    """
    hydra = HydraConfig.get()
    run_dir = hydra.runtime.output_dir
    overrides = [o for o in override_list(hydra.overrides.task) if not o.startswith("sweep_name=")]
    script = str(Path(sys.argv[0]).resolve())
    command = [sys.executable, script, *overrides, f"hydra.run.dir={quote_value(run_dir)}"]
    # That port is of an earlier job, which ran in this process.
    environment = {name: value for name, value in os.environ.items() if name != "MASTER_PORT"}
    cwd = hydra.runtime.cwd  # in a session of its own, Ctrl-C reaches it once: as SIGTERM
    process = subprocess.Popen(command, env=environment, cwd=cwd, start_new_session=True)
    try:
        code = process.wait()
    except BaseException:  # a signal
        process.terminate()  # it writes a checkpoint first
        process.wait()
        raise
    record = read_run(run_dir)
    if code != 0:
        raise ConfigError(f"the job in {run_dir} ended with code {code}: {record.get('error')}")
    return record.get("metrics", {})
