"""The command line of a verb: Hydra's, with a user's mistakes reported in one line.

    @hydra_command("train")
    def main(cfg: DictConfig) -> None: ...

Imports no torch, so that mistakes, `--help` and `--cfg job` answer at once. Only for a
key that a node does not have is the node's target imported, to say what it takes.
"""

import difflib
import functools
import logging
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import hydra
from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.runtime import check, distributed, overrides, project, run_folder, signals, sweeps
from src.runtime.overrides import choice_hint, compose
from src.runtime.project import ConfigError, is_sweep_job

project.prepare_environment()
run_folder.register_run_resolvers()
project.register_resolver("job_dir", sweeps.assign_job_folder_name, replace=True)
check.register_config_schema()
log = logging.getLogger(__name__)

FULL_ERROR = "HYDRA_FULL_ERROR"
# What Hydra says of a key that has a value already.
HAS_A_VALUE = re.compile(r"(?:remove \+ prefix: '|use 'override )(.+)'")
# What a wrong value of the user's leads to, if it is raised before a batch has passed.
MISTAKES = (HydraException, OmegaConfBaseException, ValueError, RuntimeError)
MISTAKES += (IndexError, OverflowError)


# Of the command in this process: whether Hydra has called its function, and whether a batch has
# passed, after which errors keep their traceback.
state = SimpleNamespace(job_entered=False, training_started=False)


@dataclass
class CheckedTask:
    """Task function for Hydra that checks the configuration before it runs the command.

    Args:
        function: the verb's.
        shows_traceback: whether the user has set `HYDRA_FULL_ERROR=1`.
    """

    function: Callable[..., Any]
    shows_traceback: bool

    def __call__(self, cfg: DictConfig) -> Any:
        """Check the configuration and run; a finished job of a sweep returns its stored result."""
        state.job_entered, state.training_started = True, False
        if (metrics := sweeps.stored_metrics_of_this_job()) is not None:
            return sweeps.optimized_value(cfg, metrics)
        if self.shows_traceback:
            return self.function(cfg)
        os.environ[FULL_ERROR] = "0"  # processes that the job starts inherit it
        try:
            for find in check.CHECKS:
                for problem in find(cfg):
                    raise ConfigError(problem)
            return self.function(cfg)
        except Exception as error:
            if not _is_mistake(error, state.training_started):
                raise
            text = error_text(error)
            if not is_sweep_job():
                sys.exit(f"Error: {text}")
            log.error("%s", text)
            raise ConfigError(text) from error  # Hydra raises it again once the other jobs ended
        finally:
            os.environ[FULL_ERROR] = "1"


def hydra_command(config_name: str, prepare: Callable[..., Any] = list) -> Callable[..., Any]:
    """Return a decorator like `hydra.main`, with one-line errors and `--help`.

    Args:
        config_name: the file in `configs/`.
        prepare: gets the command line, and returns what Hydra reads in its place.
    """

    def decorate(function: Callable[..., Any]) -> Callable[[], None]:
        @functools.wraps(function)
        def main() -> None:
            shows_traceback = os.environ.get(FULL_ERROR) == "1"
            job = CheckedTask(function, shows_traceback)
            run = hydra.main(str(project.CONFIGS), config_name, **project.MAIN_ARGUMENTS)(job)
            script, *argv = sys.argv
            state.job_entered = False
            os.environ[FULL_ERROR] = "1"  # Hydra raises errors instead of printing them
            try:
                if {"-h", "--help"} & set(argv):
                    print_help(config_name, str(sys.modules[function.__module__].__doc__))
                else:
                    argv = _prepared(argv, prepare)
                    sys.argv = [script, *argv]
                    run()
            except Exception as error:
                if shows_traceback or not _is_mistake(error, state.job_entered):
                    raise
                sys.exit(f"Error: {error_text(error, config_name, argv)}")
            finally:
                os.environ[FULL_ERROR] = "1" if shows_traceback else "0"

        return main

    return decorate


def print_help(config_name: str, docstring: str) -> None:
    """Print a command's docstring, and its config groups with their choices."""
    print(f"{docstring.strip()}\n\nGroups (any other value: KEY=VALUE):")
    for name, choices in overrides.choices_by_override_key(config_name).items():
        print(f"  {name + '=':<18} {', '.join(choices)}")
    print("\n--cfg job prints the configuration, --info defaults its files, -m runs a sweep.")
    print(f'Tab completion: eval "$(python src/{config_name}.py -sc install=bash)"')


def _prepared(argv: list[str], prepare: Callable[..., Any]) -> list[str]:
    """Return what Hydra reads in place of the command line that was typed."""
    signals.install_handlers()
    given = overrides.expand_and_check_overrides(argv)
    if overrides.INFO_FLAGS & set(argv):
        return given
    is_search = any(argument.startswith("search=") for argument in argv)
    if is_search and not {"-m", "--multirun"} & set(argv):
        raise ConfigError("a search is a sweep. Type -m as well")
    return distributed.disable_hydra_files_unless_rank_zero(prepare(given))


def _is_mistake(error: BaseException, has_started: bool) -> bool:
    """Return whether an error is the user's, so that one line tells all.

    Args:
        error: what was raised.
        has_started: whether code has run whose errors need a traceback.
    """
    libraries = ("MisconfigurationException", "OutOfMemoryError", "FloatingPointError")
    is_known = type(error).__name__ in libraries or "conditioned on metric" in str(error)
    if isinstance(error, ConfigError) or is_known:  # the second: early stopping without its metric
        return True
    if has_started or "Traceback" in f"{error}{error.__cause__}":  # of another process
        return False
    return isinstance(error, MISTAKES) or getattr(error, "filename", None) is not None


def error_text(error: BaseException, config_name: str = "train", argv: Sequence[str] = ()) -> str:
    """Return an error message for the user: the problem, its cause and how to fix it.

    Args:
        error: of the user, Hydra, OmegaConf or a library.
        config_name: of the verb.
        argv: its command line, as Hydra read it.
    """
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, HydraException) and not isinstance(error, InstantiationException):
        return _explain_composition(error, config_name, argv)
    return _one_line(error) + check.error_location_suffix(error.__cause__ or error)


def _explain_composition(error: HydraException, config_name: str, argv: Sequence[str]) -> str:
    text, hint = _one_line(error).rstrip("."), ""
    if unknown := re.search(r"Could not override '([^']+)'", text):
        text = f"{unknown[1]}: there is no such key"
        hint = _key_hint(unknown[1], config_name, argv)
    elif present := HAS_A_VALUE.search(str(error)):
        return f"it has a value already. Type it without +: {present[1].replace(': ', '=')}"
    elif isinstance(error, OverrideParseException):
        text = f"{error.override} cannot be read"
        hint = "Type KEY=VALUE without blanks and without a comma at the end, or \"KEY='VALUE'\""
    elif extra := re.search(r"Could not find 'hydra/launcher/(joblib|submitit)(_\w+)?'", text):
        text, hint = extra[0], f"Type: uv pip install -e '.[{extra[1]}]'"
    elif error.__cause__:
        text += f": {_one_line(error.__cause__)}"
    return f"{text}. {hint or f'To see all keys: python src/{config_name}.py --cfg job'}"


def _one_line(error: BaseException) -> str:
    """Return the message of an error, without the last details of OmegaConf's and Hydra's."""
    text = re.split(r"\n +(?:object|reference)_type=|\nConfig search path", str(error))[0]
    return textwrap.shorten(text, 400)


def _key_hint(key: str, config_name: str, argv: Sequence[str]) -> str:
    """Return what to type in place of a key that does not exist; nothing if none is similar."""
    typed = next((override for override in argv if override.startswith(f"{key}=")), "")
    value = typed.partition("=")[2]
    try:
        cfg = compose(config_name, *(o for o in argv if o != typed and not o.startswith("-")))
    except (HydraException, ConfigError):  # there are other mistakes, or it is a sweep
        cfg = compose(config_name)
    parent, _, name = key.rpartition(".")
    with suppress(OmegaConfBaseException):  # a part of the key is no node
        target = OmegaConf.select(cfg, f"{parent}._target_")
        if target:
            problems = check.invalid_node_messages(parent, {"_target_": target, name: value})
            return next(problems, f"{target} takes it, so add it with +: +{key}={value}")
    groups = overrides.choices_by_override_key(config_name)
    advice = {group.rpartition("/")[2]: choice_hint(group, value) for group in groups}
    for other in _all_keys(OmegaConf.to_container(cfg)):
        advice.setdefault(other, f"{other}={value}")
    similar = [other for other in advice if f".{other}".endswith(f".{key}")]
    similar += [other for other in advice if other.startswith(key) or key.endswith(f"_{other}")]
    similar += difflib.get_close_matches(key, advice, 1, 0.7)
    return f"Did you mean {advice[similar[0]]}?" if similar else ""


def _all_keys(content: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield f"{prefix}{key}"
            yield from _all_keys(value, f"{prefix}{key}.")
