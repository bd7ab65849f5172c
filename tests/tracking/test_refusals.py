"""A database that refuses one change, as a full disk would: the mirror is cut there, and takes it up there."""

import sqlite3
from contextlib import closing, contextmanager

import pytest

from tests.tracking.literal import opened, plan, result, suggested, write
from tests.tracking.shown import runs_of, snapshot, statuses
from tuner.campaign.folder import Folder
from tuner.tracking.mirror import sync
from tuner.tracking.problem import TrackingError

FAULTS = {
    "a run is created": "INSERT ON runs WHEN NEW.name = 'cutmix-001'",
    "a study is created": "INSERT ON runs WHEN NEW.name = 'cutmix'",
    "its data set is logged": "INSERT ON inputs WHEN (SELECT count(*) FROM inputs) = 6",
    "its parameters are logged": "INSERT ON params WHEN NEW.key = 'alpha'",
    "its metrics are logged": "INSERT ON metrics WHEN NEW.key = 'val_nll' AND NEW.step = 3",
    "its end is logged": "UPDATE ON runs WHEN NEW.name = 'cutmix-001' AND NEW.status = 'FINISHED'",
}


@contextmanager
def refusing(uri: str, change: str):
    """The database refuses this change, as a full disk would, and takes it afterwards."""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        database.execute(f"CREATE TRIGGER refuse BEFORE {change} BEGIN SELECT RAISE(ABORT, 'no room'); END")
        database.commit()
        yield
        database.execute("DROP TRIGGER refuse")
        database.commit()


@pytest.mark.parametrize("change", FAULTS.values(), ids=FAULTS.keys())
def test_a_mirror_that_dies_while(change, mirrored, store):
    with refusing(store, change), pytest.raises(TrackingError, match="no room"):
        sync(mirrored.folder, store)
    assert statuses(store) != statuses(mirrored.uri)
    sync(mirrored.folder, store)
    assert snapshot(store) == mirrored.shown


def test_long_trials_go_in_batches_and_the_noted_step_is_never_ahead(tmp_path, store):
    planned = plan(tmp_path / "runs", methods=["none"])
    folder = Folder(planned.folder)
    write(
        folder,
        [opened(planned), suggested("none-000", "none", 0, 100), *(result("none-000", e) for e in range(1, 401))],
    )
    with refusing(store, "INSERT ON metrics WHEN NEW.step = 350"), pytest.raises(TrackingError, match="no room"):
        sync(folder, store)
    client, runs = runs_of(store)
    trial = next(run for run in runs if run.info.run_name == "none-000")
    stored = {metric.step for metric in client.get_metric_history(trial.info.run_id, "val_nll")}
    noted = int(trial.data.tags["regtune.steps"])
    assert 0 < noted < 350
    assert stored >= set(range(1, noted + 1))
    sync(folder, store)
    assert [step for step, _, _ in snapshot(store)["none-000"]["metrics"]["val_nll"]] == list(range(1, 401))
