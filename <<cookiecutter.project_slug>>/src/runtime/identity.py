"""Which project and which run this is: known before Hydra composes anything."""

import os
import secrets
from datetime import datetime
from pathlib import Path

from src.runtime import hydra_versions

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CONFIGS = str(PROJECT_ROOT / "configs")  # absolute: `python -m src.train` works as well


def is_own(code: str) -> bool:
    """Say whether a file of code is the project's, and no library's in an environment beside it."""
    path = Path(code)
    return PROJECT_ROOT in path.parents and "site-packages" not in path.parts


def new_run_id() -> str:
    """Return a name for a run's folder that sorts by time and that no other run has.

    Processes that torchrun or srun started together get one name. It stays the same when torchrun
    starts them anew, or SLURM requeues the job: the run then goes on in its folder. Where another
    launcher starts them, the environment variable `RUN_ID` says it.
    """
    own = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(4)}"
    if "RUN_ID" in os.environ:
        return os.environ["RUN_ID"]
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return _agreed(own)
    if "SLURM_STEP_ID" in os.environ:
        return f"slurm_{os.environ['SLURM_JOB_ID']}.{os.environ['SLURM_STEP_ID']}"
    return own


def _agreed(proposal: str) -> str:
    """Return the name that the first process under a torchrun proposed, through its store."""
    from torch.distributed import TCPStore  # seconds; but a torchrun trains anyway

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, is_master=False)
    return store.compare_set("run_id", "", proposal).decode()


def register() -> None:
    """Read `.env`, and define what `configs/common/config_base.yaml` builds its paths from."""
    if (PROJECT_ROOT / ".env").exists():
        from dotenv import load_dotenv  # for those who have one: it takes a while

        load_dotenv(PROJECT_ROOT / ".env")
    os.environ["PROJECT_ROOT"] = str(PROJECT_ROOT)
    # Jobs in other processes and on other machines import `src` too, wherever they start.
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(PROJECT_ROOT) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PROJECT_ROOT), *paths]))
    # Cached: every `${run_id:}` of one configuration, and of all jobs of its sweep, is the same.
    hydra_versions.register_resolver("run_id", new_run_id, use_cache=True, replace=True)
