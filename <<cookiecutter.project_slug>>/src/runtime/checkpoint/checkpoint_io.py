"""Checkpoint files: written whole or not at all, checked and free of code when they are read."""

import os
import pickle
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

MARGIN = 65_536  # bytes free on a disk that counts as full


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write under a temporary name, flush to the disk, rename; read plain data only."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; what was at `path` stays there until the new one is whole.

        Raises:
            ValueError: if it cannot be written, for want of space, say.
        """
        if "://" in str(path):  # S3 and the like: no renaming there
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        temporary = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
        except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
            full = path.parent.exists() and shutil.disk_usage(path.parent).free < MARGIN
            temporary.unlink(missing_ok=True)
            reason = "no space left on the disk" if full else error
            raise ValueError(
                f"{path} cannot be written: {reason}. The checkpoints written before are whole: "
                f"mend that, then go on with ckpt_path={path.parent.parent}"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint as `read` does."""
        return read(path)


def read(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU; runs no code that it may hold.

    Raises:
        ValueError: if there is no such file, it is damaged, or it holds more than plain data.
    """
    if not Path(path).is_file():
        raise ValueError(f"ckpt_path={path} does not exist: give the path of a .ckpt file")
    if damage := find_damage(path):
        raise ValueError(f"{path} is damaged: {damage}. Take another checkpoint of the run")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than plain data and is refused, and nothing in it was run. "
            f"{_culprit(str(error))}"
        ) from error
    except (RuntimeError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise ValueError(f"{path} is no checkpoint: it holds no state_dict")
    return checkpoint


def find_damage(path: str | Path) -> str | None:
    """Say what is wrong with a checkpoint file, or return None if all its checksums hold.

    torch writes a checksum for each part of the file, and does not look at them when it reads.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, ValueError) as error:
        return f"it is truncated, or no checkpoint at all ({error})"
    return f"the checksum of its part {part} does not hold" if part else None


def _culprit(message: str) -> str:
    found = re.search(r"GLOBAL (\S+)", message)
    return f"It asks for {found[1]}" if found else message.splitlines()[0]


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
