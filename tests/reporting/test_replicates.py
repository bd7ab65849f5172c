"""Whole studies replicated: a study is what a mean is taken over, and both kinds of noise are shown."""

from math import sqrt

import pytest

from tuner.campaign.reading import load
from tuner.reporting.export import export
from tuner.reporting.page import write
from tuner.reporting.results import Results
from tuner.reporting.tables import final_table, runs_frame, search_table, spent_table
from tuner.reporting.verdict import verdict, warnings


@pytest.fixture
def results(replicated):
    return Results.of(replicated.state)


def test_the_mean_is_over_studies_and_each_counts_its_seeds_once(results):
    none, mixup = results.methods
    assert none.tested() == pytest.approx({0: 0.11, 1: 0.22})
    summary = none.summary()
    assert (summary.n, summary.mean) == (2, pytest.approx(0.165))
    assert summary.std == pytest.approx(0.11 / sqrt(2))  # between .11 and .22
    # inside the studies: std .02 / sqrt(2) and .04 / sqrt(2), pooled with one degree of freedom each
    assert none.spread_within() == pytest.approx(sqrt((0.02**2 / 2 + 0.04**2 / 2) / 2))
    assert mixup.tested() == pytest.approx({0: 0.08, 1: 0.19})
    assert none.best_error == pytest.approx(0.15)


def test_pairs_are_paired_by_replicate(results):
    assert [method.name for method in results.ranked] == ["mixup", "none"]
    [pair] = results.pairs
    # .08 - .11 and .19 - .22: the very same difference, so that nothing can be claimed of its noise
    assert (pair.comparison.n, pair.comparison.difference) == (2, pytest.approx(-0.03))
    assert verdict(results)[0] == "No difference shown between any two methods (2 replicates, 1 comparison)."


def test_both_spreads_are_columns_and_the_caption_says_which_noise_the_bar_shows(results):
    table = final_table(results)
    cells = dict(zip((column.heading for column in table.columns), table.rows[1], strict=True))
    assert cells["method"] == "none"
    assert (cells["test error, %"], cells["n"]) == ("16.50 ± 7.78", "2")
    assert (cells["between studies"], cells["between seeds"]) == ("7.78", "2.24")
    assert (cells["search trials"], cells["search epochs"]) == ("2", "8")
    assert "noise of tuning" in table.caption


def test_each_study_has_its_own_line_where_searches_are_told_apart(replicated, results):
    names = ["none", "none-r1", "mixup", "mixup-r1"]
    for table in (search_table(results), spent_table(results)):
        assert table.columns[0].heading == "study"
        assert [row[0] for row in table.rows] == names
    html, markdown, _ = (path.read_text(encoding="utf-8") for path in write(replicated.folder, replicated.state))
    assert all(f"</span>{name}</h3>" in html for name in names)
    assert "paired by replicate" in markdown


def test_runs_are_told_apart_by_replicate(results):
    frame = runs_frame(results)
    assert list(frame.columns[:4]) == ["method", "replicate", "seed", "trial"]
    assert frame.groupby(["method", "replicate"]).size().tolist() == [2, 2, 2, 2]
    assert "superseded" not in frame


def test_every_study_is_exported_as_a_campaign_of_one_study(replicated, tmp_path):
    paths = export(replicated.state, tmp_path)
    assert list(paths) == ["none", "none-r1", "mixup", "mixup-r1"]
    document = load(paths["mixup-r1"])
    assert document.name == "literal-mixup-r1"
    assert [study.name for study in document.studies] == ["mixup"]
    assert document.search.trials == 0


def test_what_is_missing_is_said_of_the_study_that_misses_it(book):
    made = book(methods=["none"], search={"trials": 1, "replicates": 2}, final={"seeds": [0, 1]})
    made.search("none", 0, [0.5, 0.4, 0.3, 0.1])
    results = Results.of(made.state)
    assert "none: 2 final runs; none-r1: 1 search trial and 2 final runs" in warnings(results)[0]


def test_one_replicate_is_shown_as_ever(finished):
    results = Results.of(finished.state)
    assert [study.name for study in results.studies] == [method.name for method in results.methods]
    assert [column.heading for column in final_table(results).columns][:2] == ["method", "test error, %"]
    assert list(runs_frame(results).columns[:3]) == ["method", "seed", "trial"]
