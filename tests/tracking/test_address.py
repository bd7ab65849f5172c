"""Where MLflow is, how one looks at it, and that no secret is shown on the way."""

from pathlib import Path

import pytest
from mlflow.cli import server

from tests.tracking.literal import plan, whole, write
from tests.tracking.shown import new_store, statuses
from tuner.campaign.folder import Folder
from tuner.tracking.address import shown_uri, sqlite_file, sqlite_uri, sync_command, tracking_uri, ui_command
from tuner.tracking.mirror import sync


@pytest.fixture(autouse=True)
def _no_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_where_mlflow_is(tmp_path, monkeypatch):
    planned = plan(tmp_path)
    folder = Folder(planned.folder)
    assert tracking_uri(planned, folder) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000")
    assert tracking_uri(planned, folder) == "http://mlflow.example:5000"
    assert tracking_uri(plan(tmp_path, tracking={"uri": "sqlite:////data/m.db"}), folder) == "sqlite:////data/m.db"


@pytest.mark.parametrize("name", ["my runs 100%20+#?", "Jürgens Läufe"])
def test_storage_with_odd_characters(name, tmp_path):
    storage = tmp_path / name
    planned = plan(storage)
    folder = Folder(planned.folder)
    write(folder, whole(planned)[:12])
    new_store(storage / "mlflow.db")
    folder.document.write_text("name: small\n")
    synced = sync(folder)
    assert synced.uri == tracking_uri(planned, folder)
    assert sqlite_file(synced.uri) == storage / "mlflow.db"
    assert set(statuses(synced.uri)) == {"none", "none-000"}
    assert list((storage / "mlartifacts" / "small").rglob("campaign.yaml"))


def test_no_folder_appears_beside_one_whose_name_would_be_quoted(tmp_path):
    storage = tmp_path / "Jürgens Läufe"
    planned = plan(storage)
    write(Folder(planned.folder), whole(planned)[:2])
    sync(Folder(planned.folder))
    assert [path.name for path in tmp_path.iterdir()] == [storage.name]


def test_files_and_uris_of_sqlite():
    assert sqlite_file("sqlite:////data/m.db") == Path("/data/m.db")
    assert sqlite_file("sqlite+pysqlite:///runs/m.db?timeout=5") == Path("runs/m.db")
    assert sqlite_file("postgresql://host/db") is sqlite_file("http://host:5000") is sqlite_file("sqlite://") is None
    for name in ("/data/m.db", "/a b/100%20?/#+ä.db"):
        assert sqlite_file(sqlite_uri(Path(name))) == Path(name)


def test_the_printed_server_answers_on_this_machine_only():
    assert next(option for option in server.params if option.name == "host").default == "127.0.0.1"
    assert ui_command("sqlite:////my runs/m.db") == (
        "uv run mlflow ui --backend-store-uri 'sqlite:////my runs/m.db' --port 5000"
    )


def test_syncing_later_names_the_address_only_where_the_ledger_does_not_know_it(tmp_path):
    folder, plain = Folder(plan(tmp_path).folder), plan(tmp_path)
    by_hand = f"uv run report.py sync small --storage {tmp_path}"
    assert sync_command(plain, folder, tracking_uri(plain, folder)) == by_hand
    # As where $MLFLOW_TRACKING_URI was set during the run.
    assert sync_command(plain, folder, "http://host:5000") == f"{by_hand} --uri http://host:5000"
    known = plan(tmp_path, tracking={"uri": "http://host:5000"})
    assert sync_command(known, folder, "http://host:5000") == by_hand
    secret = plan(tmp_path, tracking={"uri": "http://anna:geheim@host:5000"})
    assert sync_command(secret, folder, "http://anna:geheim@host:5000") == f"{by_hand} --uri 'http://***@host:5000'"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://anna:geheim@host:5000/x", "http://***@host:5000/x"),
        ("https://geheim@host", "https://***@host"),
        ("postgresql://anna:ge@heim@db/mlflow", "postgresql://***@db/mlflow"),
        ("postgresql://anna:ge/heim@db/mlflow", "postgresql://***@db/mlflow"),
        ("postgresql+psycopg2://db/mlflow?user=anna&password=geheim", "postgresql+psycopg2://db/mlflow?***"),
        ("https://host/mlflow?geheim", "https://host/mlflow?***"),
        ("sqlite:////data/anna@home/mlflow.db", "sqlite:////data/anna@home/mlflow.db"),
        ("sqlite:///runs/mlflow.db", "sqlite:///runs/mlflow.db"),
        ("http://host:5000", "http://host:5000"),
    ],
)
def test_secrets_are_never_shown(uri, shown):
    assert shown_uri(uri) == shown
    assert shown_uri(f"no answer from '{uri}'!") == f"no answer from '{shown}'!"
    assert "geheim" not in ui_command(uri)
