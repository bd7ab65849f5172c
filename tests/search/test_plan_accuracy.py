"""The plan against what the ledger of the same campaign then records."""

import pytest

from tuner.campaign import reading
from tuner.campaign.campaign import Campaign
from tuner.campaign.plan import plan
from tuner.campaign.preflight import preflight
from tuner.search import driver, session
from tuner.search.step_seconds import step_seconds

# The default campaign in small: the same net, images, schedule, scheduler and kinds of method.
CONTENT = {
    "name": "planned",
    "dataset": {"name": "digits"},
    "split": {"train_per_class": 20, "validation_per_class": 20},
    "model": {"name": "preactresnet18", "width": 16},
    "methods": ["none", "cutmix"],
    "training": {"epochs": 16, "batch_size": 50, "lr": 0.1, "weight_decay": 5e-4, "schedule": {"name": "onecycle"}},
    "search": {"trials": 8},
    "final": {"seeds": [0, 1], "select": "last"},
}


@pytest.mark.timeout(600)
def test_the_hours_are_within_40_percent_of_the_ledgers(ray_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", ray_folder)
    document = reading.check({**CONTENT, "storage": str(tmp_path)}, "planned.yaml")
    facts = preflight(document, "planned.yaml")
    campaign = Campaign.open(document, facts)
    with session.ray_session():
        workers = driver.workers(document.resources, "planned.yaml")
        # Before and behind it: a machine that others use as well changes while the campaign runs.
        before = step_seconds(document, workers, "planned.yaml")
        driver.execute(campaign, "planned.yaml", lambda seconds, workers: None)
        behind = step_seconds(document, workers, "planned.yaml")
    campaign.close()
    planned = plan(document, facts, {name: (before[name] + behind[name]) / 2 for name in before}, workers)
    expected = sum(planned.hours(method.expected_seconds) for method in planned.methods)
    trials = campaign.state.trials.values()
    assert all(trial.ended for trial in trials)
    assert expected == pytest.approx(sum(trial.cpu_seconds for trial in trials) / 3600, rel=0.4)
    assert planned.expected_epochs == pytest.approx(sum(trial.epoch for trial in trials), rel=0.25)
