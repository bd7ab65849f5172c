"""The folder that a data set's files lie in."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


# Workers run in folders of their own: a relative path is settled where it was written.
Root = Annotated[str, AfterValidator(_absolute)]
"""The path of a folder, absolute once it is validated."""


def files_key(source: dict, folder: str, paths: Sequence[str]) -> str:
    """SHA-256 of the source and of every file's name below the folder, size and time: any change is another key."""
    files = [(path.removeprefix(folder), (stat := os.stat(path)).st_size, stat.st_mtime_ns) for path in paths]
    return hashlib.sha256(json.dumps([source, files]).encode()).hexdigest()
