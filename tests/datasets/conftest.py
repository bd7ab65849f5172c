"""What tests of several data sets share."""

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("REGTUNE_CACHE", str(tmp_path / "cache"))
