"""What the jobs of a sweep have in common is composed once.

Hydra composes each job from its files anew, some forty of them. Jobs that choose the same files
differ in values only, which Hydra then sets on a copy of what it has merged before.
"""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.defaults_list import DefaultsList
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

_compose_job: Any = ConfigLoaderImpl.load_sweep_config
_list_files: Any = config_loader_impl.create_defaults_list
_merge_files: Any = ConfigLoaderImpl._compose_config_from_defaults_list

_known: dict[Any, Any] | None = None  # of the sweep whose job is being composed


def install() -> None:
    """Take the place of Hydra's own functions."""
    loader: Any = ConfigLoaderImpl
    loader.load_sweep_config = _job
    loader._compose_config_from_defaults_list = _merged
    vars(config_loader_impl)["create_defaults_list"] = _files
    vars(config_loader_impl)["CachingConfigRepository"] = _repository


def _job(self: ConfigLoaderImpl, master_config: DictConfig, sweep_overrides: list[str]) -> Any:
    global _known
    _known = vars(self).setdefault("known", {})  # a worker gets it with the loader
    try:
        return _compose_job(self, master_config, sweep_overrides)
    finally:
        _known = None


def _repository(delegate: Any) -> CachingConfigRepository:
    if _known is None:
        return CachingConfigRepository(delegate)
    if "repository" not in _known:  # what it has read, and where it looks
        _known["repository"] = CachingConfigRepository(delegate)
    return _known["repository"]


def _files(
    repo: Any, config_name: str | None, overrides_list: Sequence[Override], **kwargs: Any
) -> DefaultsList:
    if _known is None:
        return _list_files(repo, config_name, overrides_list, **kwargs)
    values, choices = [], []
    for override in overrides_list:
        is_choice = not isinstance(override.value(), dict) and repo.group_exists(
            override.key_or_group
        )
        (choices if is_choice else values).append(override)
    key = (config_name, *(override.input_line for override in choices))
    if key not in _known:
        _known[key] = _list_files(repo, config_name, overrides_list, **kwargs)
    return dataclasses.replace(_known[key], config_overrides=values)


def _merged(self: ConfigLoaderImpl, defaults: Sequence[ResultDefault], repo: Any) -> DictConfig:
    if _known is None:
        return _merge_files(self, defaults, repo)
    key = tuple(map(repr, defaults))
    if key not in _known:
        _known[key] = _merge_files(self, defaults, repo)
    return copy.deepcopy(_known[key])
