"""A real MLflow server that is late, killed, slow, silent or gone: training goes on, and it has all of it later."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from statistics import median

import pytest
from mlflow import MlflowClient

import report
from tests.faults.server import Server, Wire, free_port
from tests.tracking import literal
from tests.tracking.shown import new_store, runs_of, snapshot, wait_until
from tuner.campaign.folder import Folder
from tuner.campaign.ledger import Ledger
from tuner.tracking import mirror
from tuner.tracking.mirror import Mirror, sync

REPOSITORY = Path(__file__).parents[2]

EPOCHS, EPOCH_SECONDS = 20, 0.1


@pytest.fixture(scope="module")
def idle_server(tmp_path_factory):
    """A server that was not started, or stands as the last test left it."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.fixture
def server(idle_server) -> Server:
    """The server, running. Each test has a campaign of its own in it."""
    idle_server.start()
    return idle_server


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    """Pauses shorter than a user's, and what the mirror sets in the environment ends with the test."""
    monkeypatch.setattr(mirror, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(mirror, "LONGEST_PAUSE", 0.5)
    for name, value in mirror._SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(mirror.REQUEST_SECONDS))


def mirrored_once(folder: Folder, tmp_path: Path) -> dict:
    """What MLflow shows of the campaign where nothing goes wrong."""
    once = new_store(tmp_path / "once.db")
    sync(folder, once)
    return snapshot(once, folder.root.name)


def started(folder: Folder, uri: str) -> Mirror:
    follower = Mirror(folder, uri)
    follower.start()
    return follower


def test_a_server_that_comes_late_gets_everything_once(idle_server, tmp_path, tally):
    idle_server.kill()
    document = literal.plan(tmp_path, name="late")
    folder, records = Folder(document.folder), literal.whole(document)
    literal.write(folder, records[:30])
    follower = started(folder, idle_server.uri)
    wait_until(lambda: follower.error)
    assert "refused" in follower.error
    tally.fault("server down")
    literal.write(folder, records[30:])
    folder.document.write_text("name: late\n")
    idle_server.start()
    assert follower.drain(60), follower.error
    assert follower.error is None
    assert snapshot(idle_server.store, "late") == mirrored_once(folder, tmp_path)
    client, runs = runs_of(idle_server.uri, "late")
    study = next(run for run in runs if run.info.run_name == "none")
    assert [file.path for file in client.list_artifacts(study.info.run_id)] == ["campaign.yaml"]


def test_a_server_killed_twice_has_every_row_once(server, tmp_path, monkeypatch, tally):
    """Killed when it has a run without anything in it, and when it has the rows of a trial and not its end."""
    killed = {"create_run": threading.Event(), "log_batch": threading.Event()}
    for request, number in (("create_run", 4), ("log_batch", 9)):
        monkeypatch.setattr(MlflowClient, request, killing(server, request, number, killed[request]))
    folder = literal.recorded(tmp_path, name="killed")
    follower = started(folder, server.uri)
    for death in killed.values():
        assert death.wait(60)
        tally.fault("server killed")
        wait_until(lambda: follower.error)
        server.start()
    assert follower.drain(60), follower.error
    assert follower.error is None
    assert snapshot(server.store, "killed") == mirrored_once(folder, tmp_path)


def killing(server: Server, request: str, number: int, killed: threading.Event):
    """The request; the server is killed once it has carried out this one of them."""
    carry_out, calls = getattr(MlflowClient, request), count(1)

    def carry_out_and_kill(*arguments, **named):
        answer = carry_out(*arguments, **named)
        if next(calls) == number:
            server.kill()
            killed.set()
        return answer

    return carry_out_and_kill


def test_requests_that_are_carried_out_and_never_answered(server, tmp_path, tally):
    lost = {"experiments/create": {1}, "runs/create": {1, 3}, "runs/log-inputs": {2}}
    lost |= {"runs/log-batch": {2, 5}, "runs/update": {1, 2}}
    wire = Wire(server.port, lost=lost)
    folder = literal.recorded(tmp_path, name="unanswered")
    with closing(wire):
        follower = started(folder, wire.uri)
        assert follower.drain(60), follower.error
    assert wire.unanswered == sum(map(len, lost.values()))
    tally.fault("request unanswered", wire.unanswered)
    assert snapshot(server.store, "unanswered") == mirrored_once(folder, tmp_path)


def test_a_slow_server_ends_the_wait_in_time_and_gets_the_rest_later(server, tmp_path, tally):
    folder = literal.recorded(tmp_path, name="slow")
    wire = Wire(server.port, delay=0.5)
    with closing(wire):
        follower = started(folder, wire.uri)
        began = time.monotonic()
        assert not follower.drain(3)
        assert time.monotonic() - began < 3.5
        tally.fault("server slow")
        assert follower.error == "MLflow had not taken everything after 3 s."
    # In a run the process ends here.
    wait_until(lambda: "mlflow-mirror" not in [thread.name for thread in threading.enumerate()])
    sync(folder, server.uri)
    assert snapshot(server.store, "slow") == mirrored_once(folder, tmp_path)


@contextmanager
def slow(server: Server, folder: Path):
    with closing(Wire(server.port, delay=1.0)) as wire:
        yield wire.uri


@contextmanager
def silent(*_):
    """The system takes connections up, and nobody ever reads from them."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def gone(*_):
    yield f"http://127.0.0.1:{free_port()}"


@contextmanager
def locked(_, folder: Path):
    """A SQLite store that another process writes to for as long as it likes."""
    uri = new_store(folder / "locked.db")
    with closing(sqlite3.connect(folder / "locked.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield uri


@pytest.mark.parametrize("fault", [slow, silent, gone, locked])
def test_an_epoch_takes_as_long_as_without(fault, server, tmp_path, tally):
    plain = epoch_seconds(tmp_path / "plain", None)
    with fault(server, tmp_path) as uri:
        mirrored = epoch_seconds(tmp_path / "mirrored", uri)
    assert median(mirrored) < 1.05 * median(plain)
    assert max(mirrored) < 1
    tally.fault("server slow" if fault is slow else "server down")


def epoch_seconds(storage: Path, uri: str | None) -> list[float]:
    """How long each epoch takes: training in a process of its own, and the driver's record of it."""
    document = literal.plan(storage)
    folder, seconds = Folder(document.folder), []
    with closing(Ledger(folder.ledger)) as ledger:
        ledger.append(literal.opened(document))
        ledger.append(literal.suggested("none-000", "none", 0, 100))
        follower = started(folder, uri) if uri else None
        for epoch in range(1, EPOCHS + 1):
            began = time.perf_counter()
            threading.Event().wait(EPOCH_SECONDS)
            ledger.append(literal.result("none-000", epoch))
            seconds.append(time.perf_counter() - began)
        if follower:
            assert not follower.drain(0.1)
    return seconds


def test_a_server_down_for_good_delays_the_exit_and_loses_nothing(server, tmp_path, capsys, tally):
    storages = [tmp_path / fault.__name__ for fault in (silent, gone)]
    with silent() as one, gone() as other:
        uris = [uri.replace("//", "//anna:geheim@") for uri in (one, other)]
        drivers = [driver(storage, uri) for storage, uri in zip(storages, uris, strict=True)]
        for process in drivers:
            out, complaint = process.communicate(timeout=120)
            ended, answer = time.time(), json.loads(out)
            assert (process.returncode, complaint, answer["drained"]) == (0, "", False)
            assert ended - answer["began"] < 30
            assert "geheim" not in out
            tally.fault("server down")
    for storage, uri in zip(storages, (server.uri, new_store(tmp_path / "other.db")), strict=True):
        folder = Folder(storage / "small")
        everything = mirrored_once(folder, tmp_path)
        store = server.store if uri == server.uri else uri
        for _ in range(2):
            with pytest.raises(SystemExit) as end:
                report.main(["sync", "small", "--storage", str(storage), "--uri", uri])
            assert not end.value.code
            assert capsys.readouterr().out.startswith("87 records are in MLflow.\n")
            assert snapshot(store) == everything
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"geheim" in path.read_bytes()]


def driver(storage: Path, uri: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.faults.mirrored_driver", str(storage), uri, "87"]
    # So that its thread surely waits for an answer when the process is to end.
    patient = {**os.environ, "MLFLOW_HTTP_REQUEST_TIMEOUT": "100"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=REPOSITORY, env=patient, text=True, **pipes)
