"""A campaign carried by the real searcher and scheduler, with a worker that follows a formula instead of training."""

import math

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from tuner.campaign.campaign import Campaign, Report
from tuner.campaign.preflight import Facts
from tuner.search.probe import Probe
from tuner.search.scheduler import LedgerScheduler
from tuner.search.searcher import LedgerSearcher

FACTS = Facts(50, 50, 1397, 10, (1, 8, 8), "data", "train", "validation", "test")


def curve(params, seed, epoch):
    """A row that depends on the hyper-parameters, the seed and the epoch, and on nothing else."""
    off = abs(math.log(params["lr"] / 0.1)) + params.get("alpha", 0.5)
    error = round((0.1 + 0.1 * off + (seed % 7) / 100) * (1 + 4 / epoch) / 5, 4)
    return {"epoch": epoch, "train_loss": error, "val_error": error, "val_nll": 2 * error, "seconds": 0.1}


def tried(document):
    """A probe that is over."""
    probe = Probe(document, 1, lambda _: None)
    probe.record(dict.fromkeys(probe.next_share(), 0.1))
    return probe


def carry(document):
    """Runs the campaign to its end at concurrency 1; returns the closed campaign, whose state stays readable."""
    campaign = Campaign.open(document, FACTS)
    probe = tried(document)
    searcher, scheduler = LedgerSearcher(campaign, probe), LedgerScheduler(campaign, probe)
    number = 0
    while (config := searcher.suggest(f"ray-{number}")) != Searcher.FINISHED:
        _work(campaign, scheduler, config)
        searcher.on_trial_complete(f"ray-{number}")
        number += 1
    campaign.close()
    return campaign


def _work(campaign, scheduler, config):
    trial = campaign.state.trials[config["trial"]]
    stops = {*config["rungs"], campaign.document.training.epochs}
    rows, attempt = [], trial.attempt + 1
    for epoch in range(1, campaign.document.training.epochs + 1):
        rows.append(curve(trial.params, trial.seed, epoch))
        if epoch in stops or epoch % 3 == 0:
            report = {"report": [vars(Report(trial.id, attempt, rows))]}
            if scheduler.on_trial_result(None, None, report) == TrialScheduler.STOP:
                return
            rows = []
    raise AssertionError("nobody stopped a trial at its last epoch")
