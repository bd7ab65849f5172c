"""Python's search for garbage, kept off what the imports have made.

By default every object that torch, Ray and MLflow define is looked at several times while they are imported, and again
at the exit: an eighth of the imports and two seconds of the exit (`LOG.md`, 2026-11-21), for objects that nobody drops.
"""

import atexit
import gc
import sys

OBJECTS = 100_000
"""New ones before it looks, instead of 700 or 2,000: some tens of megabytes, if all of them were garbage."""


def collect_rarely() -> None:
    """For a process of our own, before it imports the most of it."""
    gc.set_threshold(OBJECTS)
    atexit.register(_leave_all)


def _leave_all() -> None:
    # Triton, which torchvision imports, counts what is left of it at the exit, and prints a page about it.
    if "triton" not in sys.modules:
        gc.freeze()
