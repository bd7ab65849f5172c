"""The same running Ray that the tests of faults join."""

from tests.faults.conftest import cluster

__all__ = ["cluster"]
