"""What goes wrong within a trial ends this trial, once, and nothing else: the worker's own code, without Ray's."""

import math
import shutil

import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from tests.faults import faulty
from tests.faults.test_sigkill import CONTENT
from tests.search.simulated import tried
from tuner.campaign import reading
from tuner.campaign.campaign import Campaign, Report
from tuner.campaign.ledger import read
from tuner.campaign.observation import Observation
from tuner.campaign.preflight import preflight
from tuner.campaign.study import Study
from tuner.search.probe import Probe
from tuner.search.samplers import optuna_study
from tuner.search.scheduler import LedgerScheduler
from tuner.search.searcher import LedgerSearcher
from tuner.search.trainable import CampaignTrainable, assignment
from tuner.training import fit

HEALTHY = {"methods": ["none"], "search": {"trials": 2, "grace": 4}, "final": {"seeds": [0], "select": "last"}}


def document_in(folder, **changed):
    return reading.check({**CONTENT, **HEALTHY, "storage": str(folder), **changed}, "trials.yaml")


def with_faulty(method, **fixed):
    """A healthy method's study, and the study of a faulty one."""
    name = f"tests.faults.faulty.{method}"
    return {"methods": ["none", {"name": name, **fixed}], "spaces": {name: faulty.SPACE}}


def carry(document):
    """Runs a campaign to its end, all trials in one worker; returns it, closed."""
    campaign = Campaign.open(document, preflight(document, "trials.yaml"))
    probe = tried(document)
    searcher, scheduler = LedgerSearcher(campaign, probe), LedgerScheduler(campaign, probe)
    worker, number = None, 0
    while (config := searcher.suggest(f"ray-{number}")) != Searcher.FINISHED:
        if worker is None:
            worker = CampaignTrainable(config)
        else:
            assert worker.reset_config(config)
        while scheduler.on_trial_result(None, None, worker.step()) == TrialScheduler.CONTINUE:
            pass
        searcher.on_trial_complete(f"ray-{number}")
        number += 1
    campaign.close()
    return campaign


def rows_of(campaign, trial):
    """The rows of a trial that nothing happens to, and those recorded, both but for their seconds."""
    return [
        [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
        for rows in (campaign.run_of(trial).rows("cpu"), trial.rows)
    ]


def statuses(campaign, method):
    return [trial.status for trial in campaign.state.trials.values() if trial.method.endswith(method)]


def attempts(campaign, trial):
    lines = [record for record, _ in read(campaign.folder.ledger)]
    return [record["kind"] for record in lines if record.get("trial") == trial.id].count("attempt")


def told(campaign, trial):
    """What Optuna hears of a trial."""
    space = campaign.document.space(trial.method)
    distributions = {name: optuna_study.distribution(dimension) for name, dimension in space.items()}
    observation = Observation.of(trial, campaign.state.metric)
    return optuna_study.frozen(observation, trial.number, distributions).state


@pytest.mark.parametrize("factor", ["nan", "inf", "-inf"])
def test_a_loss_that_is_no_number_ends_the_trial_at_that_epoch(tmp_path, factor, tally):
    campaign = carry(document_in(tmp_path, **with_faulty("NotFinite", factor=factor)))
    assert statuses(campaign, "none") == ["completed"] * 3
    assert statuses(campaign, "NotFinite") == ["diverged"] * 2
    for trial in campaign.state.searched("tests.faults.faulty.NotFinite"):
        assert trial.epoch in (1, 2)  # two steps an epoch, and the fourth or the fifth is wrong
        assert trial.error["class"] == "Diverged"
        assert f"after epoch {trial.epoch + 1}" in trial.error["message"]
        assert told(campaign, trial) == TrialState.FAIL
        assert attempts(campaign, trial) == 1
        tally.fault("trial diverged")
    assert campaign.state.best("tests.faults.faulty.NotFinite") is None
    tally.ledger(campaign.folder.ledger)


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ({}, "val_error is missing, val_nll is missing after epoch 2"),
        ({"val_nll": 1.0, "val_ece": 0.1}, "val_error is missing after epoch 2"),
        ({"val_error": "low", "val_nll": 1.0}, "val_error is 'low' after epoch 2"),
        ({"val_error": None, "val_nll": 1.0}, "val_error is None after epoch 2"),
        ({"val_error": -math.inf, "val_nll": 1.0}, "val_error is -inf after epoch 2"),
        ({"val_error": 0.0, "val_nll": math.nan}, "val_nll is nan after epoch 2"),
    ],
)
def test_a_row_without_its_metric_is_no_result(tmp_path, monkeypatch, measured, message, tally):
    whole, calls = fit.measured, []

    def measured_but_once(*arguments):
        calls.append(arguments)
        return measured if len(calls) == 2 else whole(*arguments)

    monkeypatch.setattr(fit, "measured", measured_but_once)
    campaign = carry(document_in(tmp_path))
    [broken, sound] = campaign.state.searched("none")
    assert (broken.status, broken.epoch, sound.status, sound.epoch) == ("diverged", 1, "completed", 4)
    assert broken.error == {"class": "Diverged", "message": message}
    assert told(campaign, broken) == TrialState.FAIL
    assert campaign.state.best("none") is sound
    assert [trial.number for trial in campaign.state.finals("none")] == [1]
    tally.fault("trial diverged")
    tally.ledger(campaign.folder.ledger)


def test_a_final_trial_without_its_test_error_is_no_result(tmp_path, monkeypatch, tally):
    whole = fit.measured
    monkeypatch.setattr(fit, "measured", lambda part, *rest: {} if part == "test" else whole(part, *rest))
    campaign = carry(document_in(tmp_path))
    [final] = campaign.state.finals("none")
    assert (final.status, final.epoch) == ("diverged", 3)
    tally.fault("trial diverged")
    tally.ledger(campaign.folder.ledger)
    assert final.error["message"] == "test_error is missing, test_nll is missing after epoch 4"


def test_without_validation_images_no_validation_error_is_missing(tmp_path):
    campaign = carry(document_in(tmp_path, final={"seeds": [0], "select": "last", "fit_on": "trainval"}))
    [final] = campaign.state.finals("none")
    assert final.status == "completed"
    assert "val_error" not in final.rows[-1]


def test_epochs_without_a_look_at_the_validation_images_lack_nothing(tmp_path):
    campaign = carry(document_in(tmp_path, training={**CONTENT["training"], "evaluate_every": 2}))
    assert statuses(campaign, "none") == ["completed"] * 3


def test_an_exception_is_recorded_with_its_traceback_and_not_tried_again(tmp_path, tally):
    campaign = carry(document_in(tmp_path, **with_faulty("Raising")))
    assert statuses(campaign, "none") == ["completed"] * 3
    assert statuses(campaign, "Raising") == ["failed"] * 2
    for trial in campaign.state.searched("tests.faults.faulty.Raising"):
        assert trial.error["class"] == "LookupError"
        assert trial.error["message"] == "there is no such mixing\nin \\udcff.png"
        assert "in go_wrong\n    raise LookupError" in trial.error["traceback"]
        assert attempts(campaign, trial) == 1
        assert told(campaign, trial) == TrialState.FAIL
        tally.fault("method raised")
    tally.ledger(campaign.folder.ledger)


def test_out_of_gpu_memory_the_advice_stands_before_what_was_asked_for(tmp_path, tally):
    campaign = carry(document_in(tmp_path, **with_faulty("OutOfMemory")))
    assert statuses(campaign, "none") == ["completed"] * 3
    assert statuses(campaign, "OutOfMemory") == ["failed"] * 2
    tally.fault("out of memory", 2)
    tally.ledger(campaign.folder.ledger)
    [trial, _] = campaign.state.searched("tests.faults.faulty.OutOfMemory")
    assert trial.error["class"] == "OutOfMemoryError"
    advice, asked = trial.error["message"].split("\n")
    assert advice == (
        "Out of GPU memory with batch_size 25: make it smaller or, where trials share a GPU, resources.gpu larger."
    )
    assert asked == "CUDA out of memory. Tried to allocate 20.00 GiB."
    assert attempts(campaign, trial) == 1


def test_a_probe_that_runs_out_of_gpu_memory_advises_too(tmp_path):
    document = document_in(tmp_path, **with_faulty("OutOfMemory", at=0.0), search={"trials": 0})
    probe = Probe(document, 1, lambda _: None)
    worker = CampaignTrainable({"trial": "probe-1", "probe": probe.next_share()})
    [outcomes] = worker.step()["probe"]
    assert isinstance(outcomes["none"], float)
    assert "Out of GPU memory with batch_size 25" in outcomes["tests.faults.faulty.OutOfMemory"]


def test_what_a_replaced_worker_still_hands_over_is_ignored_and_nothing_is_written(tmp_path, tally):
    document = document_in(tmp_path, search={"trials": 2, "grace": 1, "audit": 0})  # a rung, and a report, each epoch
    campaign = Campaign.open(document, preflight(document, "trials.yaml"))
    scheduler = LedgerScheduler(campaign, Probe(document, 1, lambda _: None))
    trial = campaign.suggest_search(Study("none"), 0, document.paper_setting("none"), {})

    def hear(report):
        return scheduler.on_trial_result(None, None, report)

    zombie = CampaignTrainable(assignment(campaign, trial))
    assert hear(zombie.step()) == TrialScheduler.CONTINUE
    heir = CampaignTrainable(assignment(campaign, trial))
    assert hear(heir.step()) == TrialScheduler.CONTINUE
    assert trial.attempt == 2

    before = campaign.folder.ledger.read_bytes()
    [late] = zombie.step()["report"]
    assert (late["attempt"], [row["epoch"] for row in late["rows"]]) == (1, [2])
    error = {"class": "E", "message": "too late"}
    for status in ("running", "interrupted", "diverged", "failed"):
        assert hear({"report": [{**late, "status": status, "error": error}]}) == TrialScheduler.STOP
    assert campaign.folder.ledger.read_bytes() == before
    assert (trial.status, trial.epoch, campaign.stopping, campaign.obstacle) == (None, 1, False, None)

    while hear(heir.step()) == TrialScheduler.CONTINUE:
        pass
    before = campaign.folder.ledger.read_bytes()
    assert hear(zombie.step()) == TrialScheduler.STOP
    assert campaign.folder.ledger.read_bytes() == before
    campaign.close()
    assert (trial.status, trial.epoch, attempts(campaign, trial)) == ("completed", 4, 2)
    tally.fault("worker replaced")
    uninterrupted, recorded = rows_of(campaign, trial)
    assert recorded == uninterrupted


def test_the_folder_of_trials_may_be_deleted_between_two_runs(tmp_path, tally):
    document = document_in(tmp_path)
    campaign = Campaign.open(document, preflight(document, "trials.yaml"))
    trial = campaign.suggest_search(Study("none"), 0, document.paper_setting("none"), {})
    campaign.receive(Report(trial.id, 2, [], "interrupted"))
    campaign.close()
    shutil.rmtree(campaign.folder.trials, ignore_errors=True)
    tally.fault("folder deleted")
    campaign = carry(document)
    tally.ledger(campaign.folder.ledger)
    trial = campaign.state.trials[trial.id]
    assert (trial.status, trial.epoch, trial.attempt) == ("completed", 4, 3)


def test_where_the_campaign_has_no_folder_no_worker_makes_one(tmp_path):
    document = document_in(tmp_path / "here")
    campaign = Campaign.open(document, preflight(document, "trials.yaml"))
    trial = campaign.suggest_search(Study("none"), 0, document.paper_setting("none"), {})
    elsewhere = tmp_path / "elsewhere" / "killed"
    config = {**assignment(campaign, trial), "folder": str(elsewhere / "trials" / trial.id)}
    [report] = CampaignTrainable(config).step()["report"]
    assert not campaign.receive(Report(**report))
    assert "No such file or directory" in campaign.obstacle
    assert str(elsewhere) in campaign.obstacle
    assert (trial.ended, elsewhere.exists()) == (False, False)
    campaign.close()
