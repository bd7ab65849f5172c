"""SQLite stores under faults: many processes at once, a driver killed while it makes the store or mirrors into it."""

import multiprocessing
import os
import signal
from pathlib import Path

from mlflow import MlflowClient

from tests.faults import mirrored_driver
from tests.tracking.literal import recorded
from tests.tracking.shown import new_store, snapshot, statuses
from tuner.campaign.folder import Folder
from tuner.tracking import schema
from tuner.tracking.address import sqlite_uri
from tuner.tracking.mirror import sync

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["mlflow", "tuner.tracking.store", "tests.faults.mirrored_driver"])


def at_once(work, arguments: list[tuple]) -> list[str]:
    """Runs `work` in a process for each of these, all from the same moment on; what each came to."""
    barrier, outcomes = processes.Barrier(len(arguments)), processes.Queue()
    started = [processes.Process(target=_work, args=(barrier, outcomes, work, some)) for some in arguments]
    for process in started:
        process.start()
    came = [outcomes.get(timeout=120) for _ in started]
    for process in started:
        process.join()
    return sorted(came)


def _work(barrier, outcomes, work, arguments) -> None:
    barrier.wait(60)
    try:
        outcomes.put(work(*arguments) or "done")
    except Exception as error:
        outcomes.put(f"{type(error).__name__}: {error}")


def log_a_run(uri: str, name: str) -> None:
    client = MlflowClient(uri)
    run = client.create_run("0", run_name=name)
    client.log_metric(run.info.run_id, "step", 1.0)


def mirror(folder: Folder, uri: str) -> None:
    sync(folder, uri)


def make_and_die_before_it_is_in_place(file: Path) -> None:
    os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    schema.make(file)


def test_eight_processes_open_a_store_that_was_prepared(tmp_path):
    file = tmp_path / "mlflow.db"
    schema.make(file)
    uri = sqlite_uri(file)
    assert at_once(log_a_run, [(uri, f"run-{number}") for number in range(8)]) == ["done"] * 8
    assert sorted(run.info.run_name for run in MlflowClient(uri).search_runs(["0"])) == [f"run-{n}" for n in range(8)]


def test_four_campaigns_begin_at_once_where_there_is_no_store_yet(tmp_path):
    uri = sqlite_uri(tmp_path / "mlflow.db")
    names = ["one", "two", "three", "four"]
    folders = [recorded(tmp_path, name=name) for name in names]
    assert at_once(mirror, [(folder, uri) for folder in folders]) == ["done"] * 4
    for name, folder in zip(names, folders, strict=True):
        once = new_store(tmp_path / f"{name}.db")
        sync(folder, once)
        assert snapshot(uri, name) == snapshot(once, name)
    assert not list(tmp_path.glob(".mlflow-*"))


def test_four_times_the_same_campaign_at_once_is_mirrored_once(tmp_path):
    folder, uri, once = recorded(tmp_path), new_store(tmp_path / "at-once.db"), new_store(tmp_path / "once.db")
    outcomes = at_once(mirror, [(folder, uri)] * 4)
    refused = [outcome for outcome in outcomes if outcome != "done"]
    assert len(refused) < 4
    assert all("is being mirrored to MLflow by another process" in outcome for outcome in refused)
    sync(folder, once)
    assert snapshot(uri) == snapshot(once)


def test_killed_while_the_store_is_made_there_is_none(tmp_path, tally):
    file = tmp_path / "mlflow.db"
    process = processes.Process(target=make_and_die_before_it_is_in_place, args=(file,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    tally.fault("driver killed")
    assert not file.exists()
    schema.make(file)
    log_a_run(sqlite_uri(file), "first")


KILLS = [
    (30, "create_run", 3),  # a run without anything in it
    (50, "log_inputs", 1),  # with its data set and no parameters
    (70, "log_batch", 4),  # with rows and no end
    (87, "set_terminated", 5),  # with some runs ended, and the others not there yet
]
RUNS = 12
"""Of two methods, and of their ten trials."""


def test_a_driver_killed_while_it_mirrors_and_gone_on_with(tmp_path, tally):
    store, once = new_store(tmp_path / "mlflow.db"), new_store(tmp_path / "once.db")

    def drive(*arguments) -> int:
        process = processes.Process(target=mirrored_driver.main, args=(str(tmp_path), store, *map(str, arguments)))
        process.start()
        process.join(120)
        return process.exitcode

    for records, request, number in KILLS:
        assert drive(records, request, number) == -signal.SIGKILL, (request, number)
        shown = statuses(store)
        assert "RUNNING" in shown.values() or len(shown) < RUNS, "nothing is left to be done"
        tally.fault("driver killed")
    assert drive(87) == 0
    folder = Folder(tmp_path / "small")
    sync(folder, once)
    assert len(statuses(once)) == RUNS
    assert snapshot(store) == snapshot(once)
    assert "RUNNING" not in statuses(store).values()
