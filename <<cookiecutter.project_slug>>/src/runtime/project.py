"""What all of the runtime builds on: paths, environment, small files, the versions of Hydra."""

import difflib
import json
import logging
import os
import re
import secrets
import shlex
import warnings
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import hydra.utils
from dotenv import load_dotenv
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf
from packaging.version import Version

from src.resolvers import RESOLVERS

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CONFIGS = PROJECT_ROOT / "configs"

# Hydra 1.3 asks which version's defaults to use; 1.4 asks which targets may be called. The
# project's own YAML may call anything, as its code may; of checkpoints: checkpoint_config.py
IS_HYDRA_1_3 = Version(hydra.__version__) < Version("1.4.0.dev0")
ANY_TARGET = getattr(hydra.utils, "UNSAFE_DISABLE_EXECUTION_CHECKS", None)
COMPOSE_ARGUMENTS: dict[str, Any] = {"version_base": "1.3"} if IS_HYDRA_1_3 else {}
MAIN_ARGUMENTS = COMPOSE_ARGUMENTS or {"execution_whitelist": ANY_TARGET}
INSTANTIATE_ARGUMENTS = {} if IS_HYDRA_1_3 else {"_execution_whitelist_": ANY_TARGET}
# Hydra 1.4 needs OmegaConf 2.4, which renames it; 2.3 has another function of the new name.
REGISTER = "register_new_resolver" if IS_HYDRA_1_3 else "register_resolver"
register_resolver: Any = getattr(OmegaConf, REGISTER)


def default_log_dir() -> Path:
    """Return `logs/`, in the project or in the folder that `STORAGE_DIR` names."""
    return Path(os.environ.get("STORAGE_DIR", PROJECT_ROOT), "logs")


class ConfigError(ValueError):
    """Error in the user's configuration or command line, shown without a traceback."""


def instantiate(node: Any, **kwargs: Any) -> Any:
    """Instantiate a `_target_` node, with containers converted to lists and dicts.

    Where `_recursive_` is false, the target builds further nodes itself: it gets OmegaConf's.

    Raises:
        hydra.errors.InstantiationException: if its target cannot be called with its arguments.
    """
    usual = "none" if node.get("_recursive_") is False else "all"
    convert = node.get("_convert_", usual)
    return hydra.utils.instantiate(node, _convert_=convert, **INSTANTIATE_ARGUMENTS, **kwargs)


def import_object(path: str) -> Any:
    """Import and return the object at a dotted path.

    Raises:
        Exception: whatever Hydra or the module raises; Hydra's log of it is left out.
    """
    logging.disable(logging.CRITICAL)
    try:
        return hydra.utils.get_object(path)
    finally:
        logging.disable(logging.NOTSET)


def prepare_environment() -> None:
    """Load `.env`, extend `PYTHONPATH`, and register the project's resolvers."""
    load_dotenv(PROJECT_ROOT / ".env")
    os.environ.setdefault("PROJECT_ROOT", str(PROJECT_ROOT))
    storage = Path(os.environ.get("STORAGE_DIR") or PROJECT_ROOT).expanduser()
    os.environ["STORAGE_DIR"] = str(PROJECT_ROOT / storage)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # pages of 2 MB for large CPU tensors
    search_path = [str(PROJECT_ROOT), os.environ.get("PYTHONPATH")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, search_path))
    for name, resolver in RESOLVERS.items():
        register_resolver(name, resolver, replace=True)
    # The launchers' keys are checked against their schema, which is what we want.
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/.*' is validated against ConfigStore")


def is_sweep_job() -> bool:
    """Return whether this process runs a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def override_list(overrides: Any) -> list[str]:
    """Return Hydra's task overrides as a plain list, without resolving interpolations."""
    return [str(override) for override in OmegaConf.to_container(overrides) or ()]


def did_you_mean(name: str, choices: Iterable[str], form: str = "{}") -> str:
    """Return ` Did you mean X?` for the closest choice, or an empty string."""
    near = difflib.get_close_matches(name, list(choices), n=1)
    return f" Did you mean {form.format(near[0])}?" if near else ""


def quote_value(value: str | Path) -> str:
    """Return a value quoted for Hydra's command line, if it needs quotes."""
    if re.fullmatch(r"/[\w./@+-]+", str(value)):  # an ordinary path
        return str(value)
    return "'" + str(value).replace("'", "\\'") + "'"


def shell_command(script: str, *arguments: str) -> str:
    """Return the shell command that runs a script of this project."""
    prefix = ["uv", "run"] if "UV_RUN_RECURSION_DEPTH" in os.environ else []
    return shlex.join([*prefix, "python", script, *arguments])


@contextmanager
def atomic_write(path: Path) -> Generator[BinaryIO]:
    """Open a temporary file that replaces `path` when the `with` block succeeds.

    So a reader finds the old content or the new one, never a part.

    Raises:
        OSError: if it cannot be written; the old content is then still there.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_json(path: str | Path) -> dict[str, Any]:
    """Return the object in a JSON file, or {} if the file is missing or damaged."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: str | Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically.

    Raises:
        OSError: if it cannot be written.
    """
    with atomic_write(Path(path)) as file:
        file.write(json.dumps(content, indent=2, default=str).encode())
