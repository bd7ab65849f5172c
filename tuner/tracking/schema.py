"""The SQLite file that MLflow keeps its tables in: it is there whole or not at all."""

import logging
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from tuner.tracking.address import sqlite_uri

logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it tells of every table, between our own lines


def make(file: Path) -> None:
    """Makes MLflow's tables in a new SQLite file; one that is there stays as it is.

    MLflow itself makes them in some fifty steps whenever it meets an empty file. Two processes that do so at once fail
    each other, and one that dies in between leaves a file that is of no use.
    """
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".mlflow-", dir=file.parent) as making:
        made = Path(making) / file.name
        SqlAlchemyStore(sqlite_uri(made), str(file.parent / "mlartifacts")).engine.dispose()
        # Where it fails another campaign was faster, or there are no links here and MLflow has to do it itself.
        with suppress(OSError):
            os.link(made, file)
