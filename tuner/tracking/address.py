"""Where MLflow keeps a campaign, and how to look at it there."""

import os
import re
import shlex
from pathlib import Path
from urllib.parse import quote, urlsplit

from tuner.campaign.document import Document
from tuner.campaign.folder import Folder

PORT = 5000
DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}


def tracking_uri(document: Document, folder: Folder) -> str:
    """The document's own `tracking.uri`, else $MLFLOW_TRACKING_URI, else a SQLite file in the campaign's storage."""
    beside = f"sqlite:///{quote(str(_storage(folder) / 'mlflow.db'))}"
    return document.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or beside


def artifact_location(uri: str, folder: Folder) -> str | None:
    """Where a new experiment keeps its files, or None where a server decides.

    Without a server MLflow would put them under the working directory, where nobody finds them again.
    """
    return (_storage(folder) / "mlartifacts" / folder.root.name).as_uri() if _is_database(uri) else None


def shown_uri(text: str) -> str:
    """A URI, or any text that quotes one, with user and password made unreadable."""
    return re.sub(r"(?<=://)[^/\s]*@", "***@", text)


def ui_command(uri: str) -> str:
    """What shows the campaign: the command that serves a database, or the address of the server that does already."""
    if _is_database(uri):
        return f"uv run mlflow ui --backend-store-uri {shlex.quote(shown_uri(uri))} --port {PORT}"
    return shown_uri(uri)


def server_of(uri: str) -> str:
    """The address that MLflow's pages lie behind, once `ui_command` runs."""
    return f"http://127.0.0.1:{PORT}" if _is_database(uri) else shown_uri(uri).rstrip("/")


def _is_database(uri: str) -> bool:
    return urlsplit(uri).scheme.split("+")[0] in DATABASES


def _storage(folder: Folder) -> Path:
    return folder.root.absolute().parent
