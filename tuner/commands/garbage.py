"""Python's search for garbage, kept off what the imports have made.

By default every object that torch, Ray and MLflow define is looked at several times while they are imported, and again
at the exit: an eighth of the imports and two seconds of the exit (`LOG.md`, 2026-11-21), for objects that nobody drops.
"""

import atexit
import gc

OBJECTS = 100_000
"""New ones before it looks, instead of 700 or 2,000: some tens of megabytes, if all of them were garbage."""


def collect_rarely() -> None:
    """For a process of our own, before it imports the most of it."""
    gc.set_threshold(OBJECTS)
    atexit.register(gc.freeze)
