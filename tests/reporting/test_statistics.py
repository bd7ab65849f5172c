"""Intervals, paired tests and Holm's correction: by hand, and against scipy."""

import numpy as np
import pytest
from scipy import stats

from tuner.reporting.statistics import Comparison, Summary, holm


def test_summary_by_hand():
    summary = Summary.of([1.0, 2.0, 3.0])
    # std 1; t(0.975, 2) = 4.3027, over the root of 3
    assert (summary.n, summary.mean, summary.std) == (3, 2.0, 1.0)
    assert (summary.low, summary.high) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-5)


def test_summary_of_one_value_claims_no_spread():
    assert Summary.of([0.25]) == Summary(1, 0.25, None, None, None)


def test_interval_is_that_of_scipy():
    values = np.random.default_rng(0).normal(0.03, 0.002, 5).tolist()
    summary = Summary.of(values)
    oracle = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (summary.low, summary.high) == pytest.approx(oracle, rel=1e-9)


def test_comparison_is_the_paired_t_test_of_scipy():
    rng = np.random.default_rng(1)
    first, second = rng.normal(0.03, 0.002, 5), rng.normal(0.031, 0.002, 5)
    comparison = Comparison.paired(dict(enumerate(first)), dict(enumerate(second)))
    oracle = stats.ttest_rel(first, second)
    interval = oracle.confidence_interval(0.95)
    assert comparison.p == pytest.approx(oracle.pvalue, rel=1e-9)
    assert (comparison.low, comparison.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert comparison.difference == pytest.approx(np.mean(first - second))


def test_comparison_pairs_by_seed_and_not_by_place():
    comparison = Comparison.paired({0: 0.10, 1: 0.20, 7: 0.9}, {1: 0.22, 0: 0.11, 5: 0.0})
    # differences -0.01 and -0.02: mean -0.015, t = -3, and with one degree of freedom p = 1 - 2 atan(3) / pi
    assert (comparison.n, comparison.difference) == (2, pytest.approx(-0.015))
    assert comparison.p == pytest.approx(1 - 2 * np.arctan(3) / np.pi)


def test_noise_that_the_seeds_share_cancels():
    seeds = range(5)
    noise = [0.0, 0.05, -0.03, 0.02, -0.04]
    first = {seed: 0.3 + noise[seed] for seed in seeds}
    second = {seed: 0.31 + noise[seed] + 0.001 * (-1) ** seed for seed in seeds}
    assert Comparison.paired(first, second).p < 0.001 < stats.ttest_ind([*first.values()], [*second.values()]).pvalue


def test_without_an_estimate_of_the_noise_nothing_is_claimed():
    assert Comparison.paired({0: 0.1}, {1: 0.1}) is None
    assert Comparison.paired({0: 0.1}, {0: 0.2}) == Comparison(1, pytest.approx(-0.1), None, None, None)
    same = {seed: seed / 7 for seed in range(5)}
    assert Comparison.paired(same, same) == Comparison(5, 0.0, None, None, 1.0)
    # Three images less of 1,397 at every seed: equal differences, but not to the last bit.
    first, second = ({s: (40 + less + s) / 1397 for s in range(5)} for less in (0, 3))
    assert Comparison.paired(first, second) == Comparison(5, pytest.approx(-3 / 1397), None, None, None)


def test_holm_by_hand():
    # sorted .01 .02 .03 .04 times 4 3 2 1: .04 .06 .06 .04, and never falling: .04 .06 .06 .06
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.4]) == pytest.approx([0.8, 0.8])
    assert holm([1.0, 0.9, 0.6]) == [1.0, 1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_holm_lies_between_the_raw_values_and_bonferroni():
    p_values = np.random.default_rng(2).uniform(size=10)
    adjusted = np.array(holm(p_values.tolist()))
    assert (adjusted >= p_values).all()
    assert (adjusted <= np.minimum(1, 10 * p_values) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p_values)]) >= 0).all()
