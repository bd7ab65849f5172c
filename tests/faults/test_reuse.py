"""A worker trains trial after trial in one process; none of them may notice the others."""

import ray

from tests.faults.test_sigkill import CONTENT
from tests.faults.test_workers import without_seconds
from tuner.campaign import reading
from tuner.campaign.campaign import Campaign
from tuner.campaign.preflight import preflight
from tuner.campaign.study import Study
from tuner.search import session
from tuner.search.trainable import CampaignTrainable, assignment

METHODS = ["none", "mixup", "patchup_soft", "dropblock", "puzzlemix"]


def rows_of(worker, config):
    """What a worker hands over of a trial, which it trains to its end."""
    rows = []
    while not rows or rows[-1]["epoch"] < config["run"]["training"]["epochs"]:
        [report] = ray.get(worker.step.remote())["report"]
        assert report["status"] == "running", report
        rows += report["rows"]
    return [without_seconds(row) for row in rows]


def test_twenty_trials_of_one_worker_have_the_rows_of_twenty_fresh_runs(tmp_path, head):
    content = {**CONTENT, "methods": METHODS, "search": {"trials": 4}, "storage": str(tmp_path)}
    content["training"] = {**CONTENT["training"], "epochs": 2}
    document = reading.check(content, "reuse.yaml")
    campaign = Campaign.open(document, preflight(document, "reuse.yaml"))
    trials = []
    for number in range(4):
        for method in METHODS:
            setting = {**document.paper_setting(method), "lr": 0.05 * (number + 1)}
            trials.append(campaign.suggest_search(Study(method), number, setting, {}))
    configs = [assignment(campaign, trial) for trial in trials]

    with session.ray_session(head.address):
        worker = ray.remote(CampaignTrainable).remote(configs[0])
        reused = [rows_of(worker, configs[0])]
        for config in configs[1:]:
            assert ray.get(worker.reset_config.remote(config))
            reused.append(rows_of(worker, config))
    campaign.close()

    # Another process, and the other way round: whatever one trial left behind for the next, it would be another thing.
    fresh = [[without_seconds(row) for row in campaign.run_of(trial).rows("cpu")] for trial in reversed(trials)]
    assert reused == fresh[::-1]
    assert len({row["train_loss"] for rows in reused for row in rows}) == 40
