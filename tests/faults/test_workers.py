"""Real workers that are killed over their trial: it goes on from where it was, or is given up, and the others go on."""

import subprocess

import pytest

from tests.faults import faulty
from tests.faults.test_sigkill import CONTENT
from tuner.campaign import reading, yaml_file
from tuner.campaign.campaign import Campaign
from tuner.campaign.fold import State
from tuner.campaign.ledger import read
from tuner.campaign.preflight import preflight
from tuner.search.searcher import WORKER_DEATHS

THROUGH_TUNE = """
import os
import tune
from tuner.search import session
ray_session = session.ray_session
session.ray_session = lambda _: ray_session(os.environ["JOINED_RAY"])
tune.main()
"""


def campaign_in(folder, *methods, **changed):
    """A campaign whose faulty methods, by class name or with settings, leave their marks in `folder`."""
    names = {method: f"tests.faults.faulty.{method}" for method in methods if method != "none"}
    content = {
        **CONTENT,
        "methods": [
            {"name": names[method], "folder": str(folder)} if method in names else method for method in methods
        ],
        "spaces": dict.fromkeys(names.values(), faulty.SPACE),
        "search": {"trials": 1},
        "final": {"seeds": [0], "select": "last"},
        "storage": str(folder),
        "resources": {"cpu": 1},
        **changed,
    }
    path = folder / "killed.yaml"
    path.write_text(yaml_file.dump(content), encoding="utf-8")
    return path


def records_of(folder):
    return [record for record, _ in read(folder / "killed" / "ledger.jsonl")]


def state_of(folder):
    return State.of(records_of(folder))


def assert_whole(folder, suggested):
    """Every trial suggested and ended once, and the epochs of each 1 to its last, one line for each."""
    records = records_of(folder)
    for kind in ("suggested", "ended"):
        trials = [record["trial"] for record in records if record["kind"] == kind]
        assert len(trials) == len(set(trials)) == suggested
    for trial in {record["trial"] for record in records if record["kind"] == "suggested"}:
        epochs = [r["row"]["epoch"] for r in records if r["kind"] == "result" and r["trial"] == trial]
        assert epochs == list(range(1, len(epochs) + 1))


def uninterrupted(campaign, trial):
    """The rows of a trial that nothing happens to, but for their seconds."""
    document = reading.load(campaign)
    again = Campaign.open(document.model_copy(update={"name": "again"}), preflight(document, str(campaign)))
    try:
        run = again.run_of(trial)
        own = {**run.hyperparameters, "at": faulty.NEVER}
        return [without_seconds(row) for row in run.model_copy(update={"hyperparameters": own}).rows("cpu")]
    finally:
        again.close()


def without_seconds(row):
    return {name: value for name, value in row.items() if name != "seconds"}


def steps_begun(folder):
    """(process, step) of every step that a method wrote down; a trial has eight."""
    lines = [line.split() for line in (folder / "steps").read_text().splitlines()]
    return [(int(process), round(8 * float(progress))) for process, progress in lines]


def test_a_worker_killed_within_an_epoch_goes_on_at_the_very_step(tmp_path, head, tally):
    campaign = campaign_in(tmp_path, "DeadlyOnce")
    assert head.drive(campaign) == 0
    assert_whole(tmp_path, suggested=2)
    tally.fault("worker killed")
    tally.ledger(tmp_path / "killed" / "ledger.jsonl")
    trial, final = state_of(tmp_path).trials.values()
    assert (trial.status, trial.epoch, trial.attempt) == ("completed", 4, 2)
    assert (final.status, final.epoch, final.attempt) == ("completed", 4, 1)

    steps = steps_begun(tmp_path)
    killed_at = max(step for process, step in steps if process == steps[0][0])
    assert killed_at in (4, 5)
    assert [step for _, step in steps] == [*range(killed_at + 1), *range(killed_at, 8), *range(8)]
    assert [without_seconds(row) for row in trial.rows] == uninterrupted(campaign, trial)


def test_a_trial_whose_worker_dies_before_it_has_begun_is_not_given_up(tmp_path, head, tally):
    """Ray Tune itself takes such a death for two at once, and gives the trial up whatever it was told to bear."""
    assert head.drive(campaign_in(tmp_path, "DeadlyToTheNext")) == 0
    assert_whole(tmp_path, suggested=2)
    tally.fault("worker killed")
    tally.ledger(tmp_path / "killed" / "ledger.jsonl")
    assert (tmp_path / "died").exists()
    assert [(trial.status, trial.epoch) for trial in state_of(tmp_path).trials.values()] == [("completed", 4)] * 2


@pytest.mark.timeout(400)
def test_through_tune_the_ill_are_given_up_the_well_complete_and_the_exit_code_is_1(tmp_path, head, tally):
    campaign = campaign_in(tmp_path, "none", "Raising", "Deadly")
    with head.command(
        "-c", THROUGH_TUNE, "run", str(campaign), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        output, complaint = process.communicate(timeout=300)
    assert process.returncode == 1, output + complaint
    assert_whole(tmp_path, suggested=4)
    tally.ledger(tmp_path / "killed" / "ledger.jsonl")

    trials = state_of(tmp_path).trials
    assert {name: trial.status for name, trial in trials.items() if trial.method == "none"} == {
        "none-000": "completed",
        "none-final-000-seed0": "completed",
    }
    raised = trials["tests.faults.faulty.Raising-000"]
    assert (raised.status, raised.attempt) == ("failed", 1)
    lost = trials["tests.faults.faulty.Deadly-000"]
    assert lost.status == "failed"
    assert lost.error["class"] == "WorkerLost"
    assert lost.error["message"].startswith(f"{WORKER_DEATHS} worker processes died over it")
    assert (tmp_path / "deaths").read_text() == "x" * WORKER_DEATHS
    tally.fault("worker killed", WORKER_DEATHS)
    tally.fault("method raised")
    [line] = [line for line in output.splitlines() if "there is no such mixing" in line]
    assert "LookupError" in line
    assert "Traceback" not in output + complaint
    [line] = [line for line in output.splitlines() if "WorkerLost" in line]
    assert "try a smaller batch_size" in line
