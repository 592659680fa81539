"""Lightning's Weights & Biases logger, which records offline where it cannot do otherwise."""

import logging
import os
import socket
from typing import Any
from urllib.parse import urlsplit

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

CONNECT_SECONDS = 5.0

log = logging.getLogger(__name__)


class OfflineWandbLogger(WandbLogger):
    """Log to Weights & Biases; without an account or a connection, to a folder.

    `wandb sync FOLDER` uploads such a run later.

    Args:
        save_dir: the run directory.
        offline: record to the folder in any case.
        init_timeout: seconds until the start of the run is given up.
        finish_timeout: seconds that its end waits for what is not uploaded.
        kwargs: of Lightning's `WandbLogger`, and of `wandb.init`.
    """

    def __init__(
        self,
        save_dir: str,
        offline: bool = False,
        init_timeout: float = 10.0,
        finish_timeout: float = 30.0,
        **kwargs: Any,
    ) -> None:
        reason = None if offline else _why_offline()
        os.makedirs(save_dir, exist_ok=True)
        settings = {"init_timeout": init_timeout, "finish_timeout": finish_timeout}
        if offline or reason:
            kwargs["mode"] = "offline"  # Lightning's own word for it, dryrun, is out of use
        super().__init__(save_dir=save_dir, settings=settings, **kwargs)
        if reason:
            _warn(f"{reason}: this run is recorded offline. Later: wandb sync {save_dir}/wandb/*")


@rank_zero_only
def _warn(line: str) -> None:
    log.warning(line)


def _why_offline() -> str | None:
    if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return None  # asked for, and obeyed by wandb itself
    import wandb

    if not wandb.login(prompt=False, verify=False):
        return "Weights & Biases has no account here (wandb login)"
    address = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai")
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), CONNECT_SECONDS).close()
    except OSError as error:
        return f"{address.hostname} cannot be reached ({error})"
    return None
