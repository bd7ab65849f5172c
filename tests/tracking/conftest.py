"""A literal campaign, in its folder and already in MLflow."""

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.tracking import literal
from tests.tracking.shown import new_store, snapshot
from tuner.campaign.folder import Folder
from tuner.tracking.mirror import sync


@pytest.fixture(autouse=True)
def _own_environment():
    """What a mirror sets in the environment, and what is set there for it, ends with the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def campaign(tmp_path) -> tuple[Folder, list[dict]]:
    """The folder and all records of a campaign that is still to be written."""
    document = literal.plan(tmp_path / "runs")
    return Folder(document.folder), literal.whole(document)


@pytest.fixture
def recorded(tmp_path) -> Folder:
    """The folder of a whole campaign with its ledger."""
    return literal.recorded(tmp_path / "runs")


@pytest.fixture
def store(tmp_path) -> str:
    """The URI of a fresh SQLite store."""
    return new_store(tmp_path / "mlflow.db")


class Mirrored(NamedTuple):
    """A whole campaign, mirrored once in one go: for tests that only look, or mirror it once more elsewhere."""

    folder: Folder
    uri: str
    shown: dict


@pytest.fixture(scope="package")
def mirrored(tmp_path_factory) -> Mirrored:
    storage: Path = tmp_path_factory.mktemp("mirrored")
    folder, uri = literal.recorded(storage), new_store(storage / "mlflow.db")
    sync(folder, uri)
    return Mirrored(folder, uri, snapshot(uri))
