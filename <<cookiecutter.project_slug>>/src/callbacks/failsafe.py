"""Disable a failing callback with a warning instead of ending the run."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

log = logging.getLogger(__name__)


def disable_on_error(hook: Callable[..., None]) -> Callable[..., None]:
    """Wrap a hook: an exception is logged once, and disables all wrapped hooks of the callback."""

    @wraps(hook)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> None:
        if getattr(self, "disabled", False):
            return
        try:
            hook(self, *args, **kwargs)
        except Exception as error:
            self.disabled = True
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            log.warning("%s is disabled for this run: %s", type(self).__name__, reason)

    return guarded
