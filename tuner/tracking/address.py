"""Where MLflow keeps a campaign, and how to look at it there."""

import os
import re
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tuner.campaign.document import Document
from tuner.campaign.folder import Folder

PORT = 5000
DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}


def tracking_uri(document: Document, folder: Folder) -> str:
    """The document's own `tracking.uri`, else $MLFLOW_TRACKING_URI, else a SQLite file in the campaign's storage."""
    return document.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or _beside(folder)


def sqlite_uri(file: Path) -> str:
    """The URI of a SQLite store."""
    # Quoted are only the signs that SQLAlchemy reads as something else: MLflow makes the folder that the URI spells.
    return "sqlite:///" + str(file).replace("%", "%25").replace("?", "%3F")


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for every other kind."""
    match = re.match(r"sqlite(?:\+\w+)?:///([^?]+)", uri)
    return Path(unquote(match[1])) if match else None


def artifact_location(uri: str, folder: Folder) -> str | None:
    """Where a new experiment keeps its files, or None where a server decides.

    Without a server MLflow would put them under the working directory, where nobody finds them again.
    """
    return (_storage(folder) / "mlartifacts" / folder.root.name).as_uri() if _is_database(uri) else None


def shown_uri(text: str) -> str:
    """A URI, or any text that quotes one, with user, password and query made unreadable."""
    # Up to the word's last "@", since passwords hold "@" and "/" too; behind three slashes there is a path and no user.
    text = re.sub(r"(?<=://)[^/\s]\S*@", "***@", text)
    return re.sub(r"\?[^\s'\")]+", "?***", text)


def ui_command(uri: str) -> str:
    """What shows the campaign: the command that serves a database, or the address of the server that does already."""
    if _is_database(uri):
        return f"uv run mlflow ui --backend-store-uri {shlex.quote(shown_uri(uri))} --port {PORT}"
    return shown_uri(uri)


def sync_command(document: Document, folder: Folder, uri: str) -> str:
    """What mirrors the campaign to this URI later. The URI is left out where it is found without it."""
    recorded = document.as_yaml()["tracking"].get("uri")
    known = uri == (recorded or _beside(folder))
    words = ["uv", "run", "report.py", "sync", folder.root.name, "--storage", str(_storage(folder))]
    return shlex.join(words if known else [*words, "--uri", shown_uri(uri)])


def server_of(uri: str) -> str:
    """The address that MLflow's pages lie behind, once `ui_command` runs."""
    return f"http://127.0.0.1:{PORT}" if _is_database(uri) else shown_uri(uri).rstrip("/")


def _is_database(uri: str) -> bool:
    return urlsplit(uri).scheme.split("+")[0] in DATABASES


def _beside(folder: Folder) -> str:
    return sqlite_uri(_storage(folder) / "mlflow.db")


def _storage(folder: Folder) -> Path:
    return folder.root.absolute().parent
