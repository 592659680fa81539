"""Which project and which run this is: known before Hydra composes anything."""

import os
import secrets
from datetime import datetime
from pathlib import Path

from dotenv import load_dotenv
from omegaconf import OmegaConf

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CONFIGS = str(PROJECT_ROOT / "configs")  # absolute: `python -m src.train` works as well


def new_run_id() -> str:
    """Return a name for a run's folder that sorts by time and that no other run has."""
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(4)}"


def register() -> None:
    """Read `.env`, and define what `configs/common/config_base.yaml` builds its paths from."""
    load_dotenv(PROJECT_ROOT / ".env")
    os.environ["PROJECT_ROOT"] = str(PROJECT_ROOT)
    # Cached: every `${run_id:}` of one configuration, and of all jobs of its sweep, is the same.
    OmegaConf.register_new_resolver("run_id", new_run_id, use_cache=True, replace=True)
