"""A trial whose worker dies is taken up again, as often as its workers get on with it; so are the shares of a probe."""

import pytest
from ray.tune.search import Searcher

from tests.search.simulated import FACTS, curve, tried
from tests.search.test_resume import in_folder
from tuner.campaign.campaign import Campaign, Report
from tuner.search.probe import Probe
from tuner.search.searcher import WORKER_DEATHS, LedgerSearcher


@pytest.fixture
def campaign(tmp_path):
    campaign = Campaign.open(in_folder(tmp_path), FACTS)
    yield campaign
    campaign.close()


def test_a_trial_is_given_up_when_no_epoch_comes_between_the_deaths(campaign):
    searcher = LedgerSearcher(campaign, tried(campaign.document))
    number = 0

    def next_trial():
        nonlocal number
        number += 1
        return searcher.suggest(f"ray-{number}")["trial"]

    first = next_trial()
    for epoch in range(3):
        if epoch > 0:
            campaign.receive(Report(first, epoch, [curve({"lr": 0.1}, 0, epoch)]))
        for _ in range(WORKER_DEATHS - 1):
            searcher.on_trial_complete(f"ray-{number}", error=True)
            assert next_trial() == first
    assert not campaign.state.trials[first].ended
    searcher.on_trial_complete(f"ray-{number}", error=True)

    trial = campaign.state.trials[first]
    assert (trial.status, trial.epoch, trial.error["class"]) == ("failed", 2, "WorkerLost")
    assert next_trial() != first


def test_a_share_of_the_probe_goes_to_another_worker_and_then_fails(campaign):
    probe = Probe(campaign.document, 2, lambda _: None)
    searcher = LedgerSearcher(campaign, probe)
    share, other = (searcher.suggest(f"ray-{number}")["probe"] for number in range(2))
    probe.record(dict.fromkeys(other, 0.1))
    searcher.on_trial_complete("ray-1", error=True)  # it had told of its share, and waited for the other one
    assert searcher.suggest("ray-2") is None
    for number, before in ((3, 0), (4, 3)):
        searcher.on_trial_complete(f"ray-{before}", error=True)
        assert searcher.suggest(f"ray-{number}")["probe"] == share
        assert not probe.done
    searcher.on_trial_complete("ray-4", error=True)
    assert probe.failed
    assert searcher.suggest("ray-5") == Searcher.FINISHED
