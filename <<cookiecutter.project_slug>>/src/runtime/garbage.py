"""Python's search for garbage, put off while a program starts: what is imported stays.

It took a sixth of the time to the first step, and a seventh of that of `--cfg job`.
"""

import atexit
import gc
import sys

_usual = gc.get_threshold()


def put_off() -> None:
    """Search seldom, and not when a program ends that imported no torch; call this first."""
    gc.set_threshold(100_000)
    atexit.register(_leave)


def take_up() -> None:
    """Search as usual, but not in what has been imported; call this when a run is built."""
    if gc.get_threshold() != _usual:
        gc.freeze()
        gc.set_threshold(*_usual)


def _leave() -> None:
    if "torch" in sys.modules:  # its libraries in C++ would complain of leaks
        gc.unfreeze()
    else:
        gc.freeze()
