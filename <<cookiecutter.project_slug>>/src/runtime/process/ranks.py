"""Which of several processes this one is, before torch is imported; rank 0 speaks for all.

Lightning, torchrun and srun each start the same command once a process. So that they make one run
together, ranks other than 0 use the run directory of rank 0 and write neither log nor `.hydra`.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence

RUN_DIR = "RUN_DIR"  # environment: set by rank 0 for the processes that it starts itself
WATCH_SECONDS = 1.0


def global_rank(environ: Mapping[str, str] = os.environ) -> int:
    """Return the rank of this process among all that train together; 0 if it is alone."""
    if not _started_by_launcher(environ):
        return int(environ.get("LOCAL_RANK", 0)) + int(environ.get("NODE_RANK", 0))
    return int(environ.get("RANK", environ.get("SLURM_PROCID", 0)))


def arguments_of_this_rank(argv: Sequence[str]) -> list[str]:
    """Return the command line to compose from, so that all ranks share the folder of rank 0.

    Raises:
        ValueError: for a sweep under torchrun or srun, where every process would run all of it.
    """
    sweep = any(a in ("-m", "--multirun") or a.endswith("hydra.mode=MULTIRUN") for a in argv)
    if sweep and _started_by_launcher(os.environ):
        raise ValueError(
            "a sweep cannot run under torchrun or srun: each process would run all of its jobs. "
            "Start it with python; each job starts its own processes (common/trainer@trainer=ddp)"
        )
    if global_rank() == 0:
        return list(argv)
    own = ["hydra.output_subdir=null", "hydra.job.name=${task_name}"]
    if RUN_DIR in os.environ:
        own.append(f"hydra.run.dir='{os.environ[RUN_DIR]}'")
    # Beside the other overrides: the parser takes them in one place only.
    last = max((i for i, a in enumerate(argv) if "=" in a and a[0] != "-"), default=len(argv) - 1)
    return [*argv[: last + 1], *own, *argv[last + 1 :]]


def restarted_in(run_dir: str) -> str | None:
    """Return the folder if SLURM queued this job again, or torchrun started it anew; else None."""
    names = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
    return run_dir if any(int(os.environ.get(name, 0)) > 0 for name in names) else None


def is_child() -> bool:
    """Say whether rank 0 started this process, by repeating its own command line."""
    return RUN_DIR in os.environ and global_rank() > 0


def end_with_parent() -> None:
    """End this process once the one that started it is gone, were it even killed by SIGKILL.

    For ranks that rank 0 started: without it they wait in a collective for what never comes.
    """
    if not is_child():
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def _started_by_launcher(environ: Mapping[str, str]) -> bool:
    several_tasks = int(environ.get("SLURM_NTASKS", 1)) > 1 and "SLURM_STEP_ID" in environ
    return "TORCHELASTIC_RUN_ID" in environ or several_tasks
