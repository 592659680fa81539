"""Python's search for garbage, put off while a program starts: what is imported stays.

It took a sixth of the time to the first step, and a seventh of that of `--cfg job`.
"""

import atexit
import gc

_usual = gc.get_threshold()


def put_off() -> None:
    """Search seldom, and not when Python ends; call this first."""
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)


def take_up() -> None:
    """Search as usual, but not in what has been imported; call this when a run is built."""
    if gc.get_threshold() != _usual:
        gc.freeze()
        gc.set_threshold(*_usual)
        atexit.unregister(gc.freeze)
        atexit.register(gc.unfreeze)  # else libraries in C++ would complain of leaks
