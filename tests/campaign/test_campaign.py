"""A campaign driven by hand, without Ray: what it records, and that the fold of its ledger is all there is to it."""

import copy
import shutil
from dataclasses import asdict

import pytest

from tuner.campaign import reading
from tuner.campaign.agenda import Ask, Refit, Resume, next_step
from tuner.campaign.campaign import Campaign, Report
from tuner.campaign.fold import State
from tuner.campaign.ledger import LedgerError, encode, read
from tuner.campaign.preflight import Facts
from tuner.campaign.study import Study

FACTS = Facts(50, 50, 1397, 10, (1, 8, 8), "data", "train", "validation", "test")


def row(epoch, error=0.5, **more):
    return {"epoch": epoch, "train_loss": 1.0, "val_error": error, "val_nll": 1.0, "seconds": 0.1, **more}


@pytest.fixture
def campaign(small):
    opened = Campaign.open(small, FACTS)
    yield opened
    opened.close()


def reopened(campaign):
    campaign.close()
    return Campaign.open(campaign.document, FACTS)


def search(campaign, method="none", error=0.5, until=8, **report):
    """Suggests a trial of a method and trains it, one row a report, until it ends or `until`."""
    trial = campaign.suggest_search(Study(method), len(campaign.state.searched(method)), {"lr": 0.1}, {})
    for epoch in range(1, until + 1):
        if not campaign.receive(Report(trial.id, 1, [row(epoch, error)], **report)):
            break
    return trial


def kinds(campaign):
    return [record["kind"] for record, _ in read(campaign.folder.ledger)]


def snapshot(state):
    return {id: asdict(trial) for id, trial in state.trials.items()}, dict(state.rules)


def test_a_trial_that_runs_through_is_suggested_attempted_recorded_and_ended(campaign):
    trial = search(campaign)
    assert kinds(campaign) == ["opened", "suggested", "attempt", *["result"] * 8, "ended"]
    assert trial.status == "completed"
    assert [r["epoch"] for r in trial.rows] == list(range(1, 9))
    assert campaign.state.rules["none"].shown == {2: [0.5], 4: [0.5]}


def test_the_decision_to_stop_is_in_the_line_of_its_row(campaign):
    search(campaign, error=0.2)
    stopped = search(campaign, error=0.4)
    assert (stopped.status, stopped.pruned_at, stopped.epoch) == ("stopped", 2, 2)
    lines = [record for record, _ in read(campaign.folder.ledger)][-2:]
    assert [(line["kind"], line.get("decision")) for line in lines] == [("result", "stop"), ("ended", None)]


def test_methods_are_not_judged_by_each_other(campaign):
    search(campaign, method="none", error=0.1)
    assert search(campaign, method="mixup", error=0.9).status == "completed"


def test_an_audited_trial_is_told_as_pruned_and_runs_on_unheard(content):
    content["search"] = {"trials": 4, "audit": 1}
    campaign = Campaign.open(reading.check(content, "small.yaml"), FACTS)
    search(campaign, error=0.2)
    audited = search(campaign, error=0.4)
    assert (audited.status, audited.pruned_at, audited.epoch) == ("audited", 2, 8)
    assert campaign.state.rules["none"].shown == {2: [0.2, 0.4], 4: [0.2]}
    worse = search(campaign, error=0.35, until=2)
    assert worse.told
    assert not worse.ended
    assert campaign.state.best("none").id == "none-000"


def test_epochs_that_are_recorded_are_passed_over_and_a_gap_is_refused(campaign):
    trial = campaign.suggest_search(Study("none"), 0, {"lr": 0.1}, {})
    campaign.receive(Report(trial.id, 1, [row(1), row(2), row(3)]))
    campaign.receive(Report(trial.id, 2, [row(1), row(2), row(3, error=0.9), row(4)]))
    assert [(r["epoch"], r["val_error"]) for r in trial.rows] == [(1, 0.5), (2, 0.5), (3, 0.5), (4, 0.5)]
    with pytest.raises(LedgerError, match="epoch 6 came after 4"):
        campaign.receive(Report(trial.id, 2, [row(6)]))


def test_rows_of_a_replaced_attempt_do_not_count(campaign):
    trial = campaign.suggest_search(Study("none"), 0, {"lr": 0.1}, {})
    campaign.receive(Report(trial.id, 2, [row(1)]))
    assert not campaign.receive(Report(trial.id, 1, [row(2)]))
    assert trial.epoch == 1
    assert trial.attempt == 2


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_broken_trial_is_ended_is_never_best_and_the_others_go_on(campaign, status):
    trial = campaign.suggest_search(Study("none"), 0, {"lr": 0.1}, {})
    error = {"class": "Broken", "message": "it broke"}
    assert not campaign.receive(Report(trial.id, 1, [row(1, error=0.0)], status, error))
    assert (trial.status, trial.error, trial.epoch) == (status, error, 1)
    search(campaign, error=0.7)
    assert campaign.state.best("none").number == 1


def test_an_interrupted_trial_is_not_ended_and_comes_first_again(campaign):
    trial = campaign.suggest_search(Study("none"), 0, {"lr": 0.1}, {})
    assert not campaign.receive(Report(trial.id, 1, [row(1)], "interrupted"))
    assert next_step(campaign.state, set()) == Resume(trial)
    assert next_step(campaign.state, {trial.id}) != Resume(trial)


def test_the_best_is_full_length_and_ties_go_by_nll(campaign):
    first = search(campaign, error=0.5)
    second = campaign.suggest_search(Study("none"), 1, {"lr": 0.1}, {})
    campaign.receive(Report(second.id, 1, [row(epoch, 0.5, val_nll=0.9) for epoch in (1, 2)]))
    campaign.receive(Report(second.id, 1, [row(epoch, 0.5) for epoch in (3, 4)]))
    campaign.receive(Report(second.id, 1, [{**row(epoch, 0.5), "val_nll": 0.9} for epoch in (5, 6, 7, 8)]))
    short = search(campaign, error=0.1, until=5)
    assert (first.status, second.status, short.status) == ("completed", "completed", None)
    assert campaign.state.best("none") is second


def test_the_agenda_searches_in_turn_then_refits_and_ends(campaign):
    """Concurrency 1, walked to its end: what comes when."""
    seen = []
    while (step := next_step(campaign.state, set())) != "done":
        match step:
            case Ask(study, number):
                seen.append(f"{study.name} {number}")
                search(campaign, study.method, error=0.5 - number / 10)
            case Refit(study, best, seed):
                seen.append(f"{study.name} refit {best.number} seed {seed}")
                trial = campaign.suggest_final(study, best, seed)
                campaign.receive(Report(trial.id, 1, [row(e) for e in range(1, 9)]))
    assert seen == [
        *[f"{method} {number}" for number in range(4) for method in ("none", "mixup")],
        *[f"{method} refit 3 seed {seed}" for method in ("none", "mixup") for seed in (0, 1)],
    ]


def test_while_the_last_trial_runs_the_campaign_is_not_done_and_goes_on_with_it_when_its_worker_is_lost(content):
    content["search"] = {"trials": 0}
    content["final"] = {"seeds": [0], "select": "last"}
    campaign = Campaign.open(reading.check(content, "small.yaml"), FACTS)
    trials = [campaign.suggest_final(Study(method), None, 0) for method in ("none", "mixup")]
    running = {trial.id for trial in trials}
    assert next_step(campaign.state, running) == "wait"
    assert next_step(campaign.state, running - {trials[0].id}) == Resume(trials[0])
    for trial in trials:
        campaign.receive(Report(trial.id, 1, [row(e) for e in range(1, 9)]))
    assert next_step(campaign.state, set()) == "done"


def test_at_most_a_quarter_of_a_study_runs_at_once_and_finals_fill_idle_workers(campaign):
    running = {}
    for method in ("none", "mixup"):
        step = next_step(campaign.state, set(running))
        assert step == Ask(Study(method), 0)
        running[campaign.suggest_search(Study(method), 0, {"lr": 0.1}, {}).id] = method
    assert next_step(campaign.state, set(running)) == "wait"
    for trial in list(running):
        if running[trial] == "none":
            campaign.receive(Report(trial, 1, [row(e) for e in range(1, 9)]))
            running.pop(trial)
    for _ in range(3):
        assert next_step(campaign.state, set(running)).study == Study("none")
        search(campaign, "none")
    assert isinstance(next_step(campaign.state, set(running)), Refit)


def test_without_search_trials_the_papers_setting_is_refitted(content):
    content["search"] = {"trials": 0}
    campaign = Campaign.open(reading.check(content, "small.yaml"), FACTS)
    step = next_step(campaign.state, set())
    assert step == Refit(Study("none"), None, 0)
    trial = campaign.suggest_final(Study("mixup"), None, 0)
    assert trial.params == {"lr": 0.1, "weight_decay": 5e-4, "alpha": 1.0}


def test_a_study_without_a_full_length_trial_has_no_final_runs(content):
    content["methods"] = ["none"]
    content["search"] = {"trials": 1}
    campaign = Campaign.open(reading.check(content, "small.yaml"), FACTS)
    trial = campaign.suggest_search(Study("none"), 0, {"lr": 0.1}, {})
    campaign.receive(Report(trial.id, 1, [], "failed", {"class": "X", "message": "x"}))
    assert next_step(campaign.state, set()) == "done"


def test_the_state_is_the_fold_of_the_ledger_in_one_go_or_in_pieces(campaign):
    search(campaign, error=0.2)
    search(campaign, error=0.4)
    search(campaign, method="mixup", until=3)
    records = [record for record, _ in read(campaign.folder.ledger)]
    assert snapshot(State.of(records)) == snapshot(campaign.state)
    for cut in range(1, len(records)):
        state = State.of(records[:cut])
        for record in copy.deepcopy(records[cut:]):
            state.apply(record)
        assert snapshot(state) == snapshot(campaign.state)


def test_a_stop_whose_end_was_not_written_is_ended_without_running_again(campaign):
    search(campaign, error=0.2)
    stopped = search(campaign, error=0.4)
    path = campaign.folder.ledger
    campaign.close()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    again = Campaign.open(campaign.document, FACTS)
    trial = again.state.trials[stopped.id]
    assert (trial.status, trial.epoch) == ("stopped", 2)
    assert kinds(again).count("ended") == 2
    assert kinds(reopened(again)).count("ended") == 2


def test_search_trials_train_with_seeds_that_methods_share_and_that_no_final_run_uses(campaign):
    none, mixup = (campaign.suggest_search(Study(method), 3, {"lr": 0.1}, {}) for method in ("none", "mixup"))
    assert none.seed == mixup.seed
    assert none.seed not in range(1000)
    assert campaign.run_of(none).measure_on == "validation"


def test_runs_carry_the_tuned_values(campaign):
    trial = campaign.suggest_search(Study("mixup"), 0, {"lr": 0.3, "weight_decay": 1e-3, "alpha": 0.5}, {})
    run = campaign.run_of(trial)
    assert (run.training.lr, run.training.weight_decay, run.hyperparameters) == (0.3, 1e-3, {"alpha": 0.5})
    final = campaign.run_of(campaign.suggest_final(Study("mixup"), trial, 1))
    assert (final.measure_on, final.seed, final.training.lr) == ("test", 1, 0.3)


def test_another_document_under_the_same_name_is_refused_with_what_differs(campaign, content):
    search(campaign)
    campaign.close()
    content["training"] = {**content["training"], "lr": 0.2}
    before = campaign.folder.ledger.read_bytes()
    with pytest.raises(LedgerError, match=r"training\.lr: 0\.1 -> 0\.2"):
        Campaign.open(reading.check(content, "small.yaml"), FACTS)
    assert campaign.folder.ledger.read_bytes() == before


def test_other_images_under_the_same_name_are_refused(campaign):
    search(campaign)
    campaign.close()
    with pytest.raises(LedgerError, match="data_digest"):
        Campaign.open(campaign.document, Facts(50, 50, 1397, 10, (1, 8, 8), "others", "train", "validation", "test"))


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"format": 99}, "has format 99; this version reads format 2,.*commit abc"),
        ({"kind": "rewound"}, 'unknown kind "rewound"; this version reads format 2'),
        ({"kind": "class__"}, "unknown kind"),
        ({"document": {"name": "small"}}, "a document whose dataset is not understood"),
    ],
)
def test_a_ledger_of_another_version_is_refused_with_both_versions_and_what_to_do(campaign, changed, complaint):
    campaign.close()
    [opened] = [record for record, _ in read(campaign.folder.ledger)]
    content = encode({**opened, "commit": "abc", **changed})
    campaign.folder.ledger.write_bytes(content)
    with pytest.raises(LedgerError, match=f"{complaint}.*another name"):
        Campaign.open(campaign.document, FACTS)
    assert campaign.folder.ledger.read_bytes() == content


def test_a_document_that_was_refused_before_its_first_trial_may_be_corrected(campaign, content):
    campaign.close()
    content["training"] = {**content["training"], "batch_size": 10}
    corrected = Campaign.open(reading.check(content, "small.yaml"), FACTS)
    assert corrected.document.training.batch_size == 10
    assert kinds(corrected) == ["opened", "opened"]


def test_resources_and_tracking_may_change_when_a_campaign_goes_on(campaign, content):
    search(campaign)
    campaign.close()
    content["resources"] = {"cpu": 2, "max_concurrent": 1}
    content["tracking"] = {"uri": "http://127.0.0.1:5000"}
    again = Campaign.open(reading.check(content, "small.yaml"), FACTS)
    assert again.document.resources.cpu == 2
    assert again.document.tracking.uri == "http://127.0.0.1:5000"


def test_a_campaign_may_move_to_another_storage(campaign, content, tmp_path):
    search(campaign)
    campaign.close()
    content["storage"] = str(tmp_path / "elsewhere")
    moved = reading.check(content, "small.yaml")
    shutil.copytree(campaign.folder.root, moved.folder)
    again = Campaign.open(moved, FACTS)
    assert again.folder.root == moved.folder
    assert search(again).id == "none-001"
    again.close()


def test_a_stop_file_that_somebody_made_stops_the_campaign(campaign):
    trial = campaign.suggest_search(Study("none"), 0, {"lr": 0.1}, {})
    campaign.receive(Report(trial.id, 1, [], "interrupted"))
    assert campaign.stopping
