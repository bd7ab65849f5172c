"""What tests of several folders share."""

import shutil
import tempfile

import pytest


@pytest.fixture(scope="module")
def ray_folder():
    """Ray's temporary folder. Not pytest's own: Ray's socket paths must stay short."""
    folder = tempfile.mkdtemp(prefix="ray-")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
