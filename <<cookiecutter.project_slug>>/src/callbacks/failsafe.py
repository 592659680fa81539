"""Let a failing callback be disabled with a warning instead of ending the run."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

log = logging.getLogger(__name__)


def disable_on_error(hook: Callable[..., None]) -> Callable[..., None]:
    """Wrap a callback's hook: an exception is logged once and disables the callback's hooks."""

    @wraps(hook)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> None:
        if getattr(self, "disabled", False):
            return
        try:
            hook(self, *args, **kwargs)
        except Exception as error:
            self.disabled = True
            reason = str(error).splitlines()[0] if str(error) else "no message"
            log.warning(
                "%s is disabled for this run: %s: %s",
                *(type(self).__name__, type(error).__name__, reason),
            )

    return guarded
