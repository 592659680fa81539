"""How Lightning calls hooks, without a word to the profiler and the log about each.

It calls some twenty in a step. Where the profiler or the log would listen, its own functions do.
"""

import logging
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.trainer import call

_of_callbacks = call._call_callback_hooks
_of_module = call._call_lightning_module_hook
_of_strategy = call._call_strategy_hook


def install() -> None:
    """Take the place of Lightning's own functions."""
    vars(call).update(
        _call_callback_hooks=call_callback_hooks,
        _call_lightning_module_hook=call_lightning_module_hook,
        _call_strategy_hook=call_strategy_hook,
    )


def call_callback_hooks(trainer: Any, hook_name: str, *args: Any, **kwargs: Any) -> None:
    """Call a hook of the callbacks that have it."""
    model = trainer.lightning_module
    if model is None or kwargs or _is_observed(trainer):  # a keyword chooses among the callbacks
        _of_callbacks(trainer, hook_name, *args, **kwargs)
        return
    hooks = [hook for callback in trainer.callbacks if (hook := getattr(callback, hook_name))]
    if hooks:
        before = _enter(model, hook_name)
        for hook in hooks:
            hook(trainer, model, *args)
        _enter(model, before)


def call_lightning_module_hook(
    trainer: Any,
    hook_name: str,
    *args: Any,
    pl_module: LightningModule | None = None,
    **kwargs: Any,
) -> Any:
    """Call a hook of the module, if it has that, and return what it returns."""
    model = pl_module or trainer.lightning_module
    if model is None or _is_observed(trainer):
        return _of_module(trainer, hook_name, *args, pl_module=pl_module, **kwargs)
    return _call(model, model, hook_name, *args, **kwargs)


def call_strategy_hook(trainer: Any, hook_name: str, *args: Any, **kwargs: Any) -> Any:
    """Call a hook of the strategy, and return what it returns."""
    if _is_observed(trainer):
        return _of_strategy(trainer, hook_name, *args, **kwargs)
    return _call(trainer.lightning_module, trainer.strategy, hook_name, *args, **kwargs)


def _is_observed(trainer: Any) -> bool:
    return type(trainer.profiler) is not PassThroughProfiler or call.log.isEnabledFor(logging.DEBUG)


def _call(model: LightningModule, owner: Any, hook_name: str, *args: Any, **kwargs: Any) -> Any:
    hook = getattr(owner, hook_name)
    if not hook:
        return None
    before = _enter(model, hook_name)
    output = hook(*args, **kwargs)
    _enter(model, before)
    return output


def _enter(model: LightningModule, hook_name: str | None) -> str | None:
    # `self.log` depends on the hook that it is called in. `nn.Module` would look each time whether
    # a parameter has that name.
    attributes = model.__dict__
    before = attributes["_current_fx_name"]
    attributes["_current_fx_name"] = hook_name
    return before
