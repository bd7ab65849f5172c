"""The stopping rules: decisions by hand, decisions beside those of Ray and Optuna, and what they should save."""

import random
from types import SimpleNamespace

import optuna
import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.schedulers.async_hyperband import _Bracket

from tuner.campaign.settings import Search
from tuner.campaign.stopping import expected_epochs, stopping_epochs, stopping_rule
from tuner.campaign.stopping.asha import Asha, rung_epochs
from tuner.campaign.stopping.hyperband import Hyperband
from tuner.campaign.stopping.median import STARTUP, Median
from tuner.training.settings import Training

SCHEDULERS = ["asha", "hyperband", "median", "fifo"]


def training(epochs=64, **more):
    return Training(epochs=epochs, batch_size=8, lr=0.1, weight_decay=0.0, schedule={"name": "cosine"}, **more)


def run(rule, curves, epochs):
    """Trains the trials of these curves one after the other; the epoch that each one reaches."""
    return [run_one(rule, number, curve, epochs) for number, curve in enumerate(curves)]


def run_one(rule, number, curve, epochs):
    for epoch in range(1, epochs + 1):
        goes_on = epoch not in rule.epochs(number) or rule.passes(number, epoch, curve[epoch])
        rule.record(number, epoch, curve[epoch])
        if not goes_on:
            break
    return epoch


def curves(seed, count, epochs, noise):
    """Falling curves of trials that differ in the level they fall to, with noise on every epoch."""
    draw = random.Random(seed)
    for _ in range(count):
        level = draw.random()
        yield {epoch: level + 3 / epoch + noise * draw.gauss(0, 1) for epoch in range(1, epochs + 1)}


def test_rungs_double_and_none_is_at_the_last_epoch():
    assert rung_epochs(15, 2, 60, 1) == (15, 30)
    assert rung_epochs(15, 2, 61, 1) == (15, 30, 60)
    assert rung_epochs(1, 4, 64, 1) == (1, 4, 16)
    assert rung_epochs(60, 2, 60, 1) == ()


def test_rungs_lie_where_the_validation_images_are_looked_at_and_none_stands_twice():
    assert rung_epochs(15, 2, 60, 4) == (16, 32)
    assert rung_epochs(1, 2, 12, 5) == (5, 10)
    assert rung_epochs(7, 2, 10, 5) == ()  # the next look is the last epoch's


def test_asha_by_hand():
    rule = Asha((5,), reduction=2)
    assert rule.passes(0, 5, 0.9)  # the first always does
    rule.record(0, 5, 0.4)
    assert not rule.passes(1, 5, 0.41)
    assert rule.passes(1, 5, 0.4)
    rule.record(1, 5, 0.2)  # the median of 0.4 and 0.2 is 0.3
    assert rule.passes(2, 5, 0.3)
    assert not rule.passes(2, 5, 0.31)


def test_asha_hears_nothing_between_its_rungs():
    rule = Asha((5,), reduction=2)
    rule.record(0, 4, 0.0)
    assert rule.passes(1, 5, 0.9)


@pytest.mark.parametrize("reduction", [2, 3, 4])
@pytest.mark.parametrize("grace", [1, 5])
def test_every_bracket_decides_as_rays_own(grace, reduction):
    """Ray's ASHA is its bracket 0; with more of them it draws a trial's bracket, and here its number decides."""
    epochs = 60
    rungs = rung_epochs(grace, reduction, epochs, 1)
    hyperband = Hyperband(rungs, reduction)
    for s in range(len(rungs)):
        ours, rays = hyperband.brackets[s], _Bracket(grace, epochs, reduction, s)
        for number, curve in enumerate(curves(seed=s, count=80, epochs=epochs, noise=0.3)):
            rounded = {epoch: round(value, 1) for epoch, value in curve.items()}  # so that there are ties
            reached = run_one(ours, number, rounded, epochs - 1)
            for epoch in range(1, epochs):
                decision = rays.on_result(SimpleNamespace(trial_id=str(number)), epoch, -rounded[epoch])
                if decision == TrialScheduler.STOP:
                    break
            assert reached == epoch


def test_hyperbands_brackets_have_the_published_sizes():
    """Algorithm 1, line 3, with R = 81 and eta = 3."""
    rule = Hyperband((1, 3, 9, 27), reduction=3)
    brackets = [rule.epochs(number) for number in range(81 + 34 + 15 + 8 + 5)]
    assert [brackets.count(rungs) for rungs in ((1, 3, 9, 27), (3, 9, 27), (9, 27), (27,), ())] == [81, 34, 15, 8, 5]
    assert rule.epochs(143) == rule.epochs(0)  # and then the next round


def test_hyperbands_brackets_keep_their_proportion_from_the_start():
    rule = Hyperband((1, 3, 9, 27), reduction=3)
    for count in (10, 20, 60):
        brackets = [rule.epochs(number) for number in range(count)]
        for rungs, size in (((1, 3, 9, 27), 81), ((3, 9, 27), 34), ((9, 27), 15), ((27,), 8), ((), 5)):
            assert abs(brackets.count(rungs) - count * size / 143) < 1.1


def test_hyperbands_brackets_do_not_judge_each_other():
    rule = Hyperband((5,), reduction=2)
    stopping, other = (next(n for n in range(9) if rule.epochs(n) == rungs) for rungs in ((5,), ()))
    rule.record(other, 5, 0.0)
    assert rule.passes(stopping, 5, 0.9)
    rule.record(stopping, 5, 0.5)
    assert not rule.passes(stopping, 5, 0.6)


@pytest.mark.parametrize("seed", range(5))
def test_the_median_rule_decides_as_optunas(seed):
    epochs, grace = 20, 4
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner())
    rule = Median(tuple(range(grace, epochs)), epochs)
    ends = []
    for number, curve in enumerate(curves(seed, count=40, epochs=epochs, noise=0.5)):
        rounded = {epoch: round(value, 1) for epoch, value in curve.items()}
        ends.append(run_one(rule, number, rounded, epochs))
        trial = study.ask()
        for epoch in range(grace, epochs + 1):
            trial.report(rounded[epoch], epoch)
            if epoch < epochs and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, rounded[epochs])
        assert epoch == ends[-1]
    assert len(set(ends)) >= 3


def test_the_median_rule_waits_for_complete_trials_and_remembers_the_best_look():
    rule = Median((2, 3), last=4)
    for number in range(STARTUP):
        assert run_one(rule, number, {1: 0.5, 2: 0.5, 3: 0.5, 4: 0.5}, 4) == 4
    assert run_one(rule, 10, {1: 0.9, 2: 0.6, 3: 0.0, 4: 0.0}, 4) == 2
    assert run_one(rule, 11, {1: 0.9, 2: 0.4, 3: 0.6, 4: 0.6}, 4) == 4
    assert run_one(rule, 12, {1: 0.4, 2: 0.6, 3: 0.6, 4: 0.6}, 4) == 2  # nobody was asked about epoch 1


def test_fifo_stops_nobody():
    rule = stopping_rule(Search(trials=8, scheduler="fifo"), training())
    assert set(run(rule, curves(0, 20, 64, noise=0.3), 64)) == {64}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_same_records_give_the_same_decisions_whoever_heard_them(scheduler):
    search = Search(trials=40, scheduler=scheduler)
    once = stopping_rule(search, training())
    told = []
    for number, curve in enumerate(curves(1, 40, 64, noise=0.3)):
        for epoch in range(1, run_one(once, number, curve, 64) + 1):
            told.append((number, epoch, curve[epoch]))
    again = stopping_rule(search, training())
    for entry in told:
        again.record(*entry)
    assert again == once


def test_what_may_be_stopped_where():
    every_third = training(epochs=20, evaluate_every=3)
    assert stopping_epochs(Search(trials=8, grace=4), every_third) == (6, 9, 18)
    assert stopping_epochs(Search(trials=8, grace=4, scheduler="hyperband"), every_third) == (6, 9, 18)
    assert stopping_epochs(Search(trials=8, grace=4, scheduler="median"), every_third) == (6, 9, 12, 15, 18)
    assert stopping_epochs(Search(trials=8, grace=4, scheduler="fifo"), every_third) == ()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("trials", [6, 16, 64])
def test_the_expected_epochs_are_those_of_simulated_studies(scheduler, trials):
    """A trial's order shows in its first epochs and hardly changes, as in most real studies."""
    search, trained = Search(trials=trials, scheduler=scheduler, grace=8, audit=0.0), training(evaluate_every=8)
    reached = []
    for study in range(2400 // trials):
        rule = stopping_rule(search, trained)
        reached += run(rule, curves(study, trials, 64, noise=0.01), 64)
    assert expected_epochs(search, trained, trials) == pytest.approx(sum(reached) / len(reached), rel=0.08)


def test_audited_trials_are_paid_to_the_end():
    plain, half, whole = (expected_epochs(Search(trials=32, audit=audit), training(), 32) for audit in (0.0, 0.5, 1.0))
    assert plain < half < whole == 64
    assert half == pytest.approx((plain + whole) / 2)
