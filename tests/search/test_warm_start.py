"""A campaign that begins with what an earlier one in the same storage found."""

import shutil

import pytest

from tests.search.simulated import carry
from tests.search.test_resume import CONTENT, outcome
from tuner.campaign import reading
from tuner.campaign.faults import DocumentError
from tuner.campaign.ledger import read
from tuner.campaign.warm_start import known, warm_start_of


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """Carried out under the name `cut`; closed."""
    storage = tmp_path_factory.mktemp("storage")
    return carry(reading.check({**CONTENT, "storage": str(storage)}, "cut.yaml"))


def later(storage, search=None, **content):
    search = {**CONTENT["search"], "warm_start": "cut", **(search or {})}
    return reading.check(
        {**CONTENT, "name": "later", "storage": str(storage), **content, "search": search}, "later.yaml"
    )


def storage_of(campaign):
    return campaign.folder.root.parent


def copied(earlier, folder):
    """Its storage at another place, for a test that writes there."""
    shutil.copytree(storage_of(earlier), folder)
    return folder


def test_the_same_question_takes_every_told_trial(earlier):
    taken = warm_start_of(later(storage_of(earlier), {"trials": 4, "sampler": "gp"}))
    assert list(taken) == ["none", "mixup"]
    for method in taken:
        trials = earlier.state.searched(method)
        assert taken[method]["best"] == earlier.state.best(method).params
        observations = known(taken, method)
        assert [o.params for o in observations] == [trial.params for trial in trials]
        for observation, trial in zip(observations, trials, strict=True):
            assert observation.outcome == ("completed" if trial.pruned_at is None else "pruned")
            epoch = trial.pruned_at or 8
            assert (observation.epoch, observation.value) == (epoch, trial.rows[epoch - 1]["val_error"])
            for stop in {trial.pruned_at for trial in trials} - {None}:
                assert observation.curve.get(stop) == (trial.rows[stop - 1]["val_error"] if stop <= epoch else None)


@pytest.mark.parametrize(
    "changed",
    [
        {"split": {"train_per_class": 6, "validation_per_class": 5}},
        {"model": {"name": "preactresnet18", "width": 5}},
        {"training": {**CONTENT["training"], "epochs": 9}},
        {"dataset": {"name": "digits", "pool_per_class": 30}},
    ],
)
def test_another_question_takes_the_best_settings_alone(earlier, changed):
    taken = warm_start_of(later(storage_of(earlier), **changed))
    assert all(taken[method]["trials"] == [] for method in taken)
    assert taken["mixup"]["best"] == earlier.state.best("mixup").params


def test_each_method_has_a_question_of_its_own(earlier):
    taken = warm_start_of(later(storage_of(earlier), spaces={"mixup": {"alpha": {"low": 0.1, "high": 0.2}}}))
    assert taken["none"]["trials"]
    assert taken["mixup"]["trials"] == []


def test_what_is_held_fixed_belongs_to_the_question(tmp_path):
    def holding(alpha, name, warm_start):
        methods = [{"name": "mixup", "alpha": alpha}]
        return later(tmp_path, {"trials": 4, "warm_start": warm_start}, name=name, methods=methods)

    carry(holding(1.0, "held", None))
    assert len(warm_start_of(holding(1.0, "same", "held"))["mixup"]["trials"]) == 4
    assert warm_start_of(holding(0.5, "other", "held"))["mixup"]["trials"] == []


def test_points_of_a_grid_make_no_other_question(earlier):
    spaces = {"mixup": {**later(storage_of(earlier)).as_yaml()["spaces"]["mixup"]}}
    spaces["mixup"]["alpha"]["points"] = 7
    assert warm_start_of(later(storage_of(earlier), spaces=spaces))["mixup"]["trials"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"search": {"warm_start": "cvt"}}, 'no campaign "cvt".*has cut.*Did you mean "cut"'),
        ({"search": {"warm_start": "later"}}, "cannot learn from itself"),
        ({"search": {"metric": "nll"}}, '"cut" made its error small.*set search.metric to error'),
        ({"methods": ["none", "cutmix"]}, "no complete search trial of cutmix.*begin alike"),
    ],
)
def test_what_cannot_be_begun_with_is_refused(earlier, content, complaint):
    with pytest.raises(DocumentError, match=rf"(?s)search\.warm_start: .*{complaint}"):
        warm_start_of(later(storage_of(earlier), **content))


def test_a_damaged_ledger_is_refused_and_the_campaign_may_begin_without_it(earlier, tmp_path):
    storage = copied(earlier, tmp_path / "storage")
    ledger = storage / "cut" / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b'"suggested"', b'"sUggested"', 1))
    with pytest.raises(DocumentError, match=r'"cut" cannot be read: .*damaged'):
        carry(later(storage))
    assert carry(later(storage, {"warm_start": None})).state.searched("none")


def test_other_questions_try_the_earlier_best_behind_the_papers_setting(earlier, tmp_path):
    storage = copied(earlier, tmp_path / "storage")
    campaign = carry(later(storage, {"trials": 4}, training={**CONTENT["training"], "lr": 0.2}))
    for method in ("none", "mixup"):
        first, second, third, _ = campaign.state.searched(method)
        assert first.params == campaign.document.paper_setting(method)
        assert second.params == earlier.state.best(method).params
        assert third.params not in (first.params, second.params)


def test_an_earlier_best_outside_of_the_space_is_not_tried(earlier, tmp_path):
    storage = copied(earlier, tmp_path / "storage")
    best = earlier.state.best("none").params
    shared = later(storage).as_yaml()["spaces"]["shared"]
    without_decay = {"none": {}, "shared": {"lr": shared["lr"]}}
    without_best = {"none": {}, "shared": {**shared, "lr": {"low": best["lr"] * 1.01, "high": 1.0}}}
    for name, spaces in (("decay", without_decay), ("best", without_best)):
        trials = carry(later(storage, {"trials": 4}, name=name, methods=["none"], spaces=spaces)).state.searched("none")
        assert all(trial.params.keys() == spaces["shared"].keys() for trial in trials)
        assert all(trial.params["lr"] != best["lr"] for trial in trials)


def test_an_earlier_best_that_is_the_papers_setting_is_tried_once(earlier, tmp_path):
    storage = copied(earlier, tmp_path / "storage")
    best = earlier.state.best("none").params
    training = {**CONTENT["training"], **best}
    trials = carry(later(storage, {"trials": 4}, methods=["none"], training=training)).state.searched("none")
    assert [trial.params for trial in trials].count(best) == 1


def test_a_sampler_begins_with_the_earlier_trials(earlier, tmp_path):
    """Its first own trial is not random any more: it is what follows from them."""
    storage = copied(earlier, tmp_path / "storage")
    learnt = carry(later(storage)).state.searched("mixup")
    plain = carry(later(storage, {"warm_start": None}, name="plain")).state.searched("mixup")
    assert learnt[0].params == plain[0].params
    assert learnt[1].params != plain[1].params


def test_the_earlier_campaign_may_vanish(earlier, tmp_path):
    """What was taken stands in the first line: the campaign goes on as if nothing had happened."""
    storage = copied(earlier, tmp_path / "storage")
    whole = carry(later(storage)).folder.ledger
    expected, lines = outcome(whole), whole.read_bytes().splitlines(keepends=True)
    opened = next(record for record, _ in read(whole))
    assert opened["warm_start"]["mixup"]["campaign"] == "cut"
    shutil.rmtree(storage / "cut")
    whole.write_bytes(b"".join(lines[: len(lines) // 2]))
    carry(later(storage))
    assert outcome(whole) == expected
