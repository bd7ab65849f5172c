"""A campaign that was extended, and one whose budget was spent: what still counts, and what is still to come."""

import io

import pandas as pd
import pytest

from tuner.campaign.extension import extended
from tuner.reporting.page import as_markdown, write
from tuner.reporting.results import Results
from tuner.reporting.tables import final_table, runs_frame, superseded_table
from tuner.reporting.verdict import parities, verdict, warnings


def extend(book, *options):
    book.document = extended(book.state.document, *options)
    book.ledger.append({"kind": "extended", "document": book.document.as_yaml()})


@pytest.fixture
def more(book):
    """One method; its best setting changed when two trials were added."""
    made = book(methods=["mixup"], search={"trials": 1}, final={"seeds": [0, 1]})
    made.search("mixup", 0, [0.5, 0.3, 0.2, 0.10])
    made.final("mixup", 0, 0, 0.30)
    made.final("mixup", 0, 1, 0.32)
    extend(made, "+2", [], None)
    made.search("mixup", 1, [0.5, 0.3, 0.2, 0.05], alpha=0.4)
    made.search("mixup", 2, [0.6], "stopped", pruned_at=1)
    return made


def test_before_the_new_trials_ended_the_old_final_runs_count(book):
    made = book(methods=["mixup"], search={"trials": 1}, final={"seeds": [0]})
    made.search("mixup", 0, [0.5, 0.3, 0.2, 0.10])
    made.final("mixup", 0, 0, 0.30)
    extend(made, "+1", [], "+1")
    results = Results.of(made.state)
    assert results.methods[0].tested() == {0: 0.30}
    assert (results.methods[0].search_to_come, results.methods[0].finals_to_come) == (1, 1)
    assert "Still to come: mixup: 1 search trial and 1 final run" in warnings(results)[0]


def test_superseded_runs_are_in_no_mean_and_the_new_ones_are_to_come(more):
    [study] = Results.of(more.state).studies
    assert (study.best.id, study.finals, study.finals_to_come) == ("mixup-001", (), 2)
    more.final("mixup", 1, 0, 0.20)
    more.final("mixup", 1, 1, 0.22)
    results = Results.of(more.state)
    assert results.methods[0].tested() == {0: 0.20, 1: 0.22}
    assert final_table(results).rows[0][1] == "21.00 ± 1.41"
    assert verdict(results) == ["mixup has a test error of 21.00 %. With one method, nothing to compare."]


def test_superseded_runs_stay_in_a_section_of_their_own_and_in_the_csv(more):
    more.final("mixup", 1, 0, 0.20)
    results = Results.of(more.state)
    rows = superseded_table(results).rows
    assert [row[:3] for row in rows] == [
        ("mixup-final-000-seed0", "completed", "30.00"),
        ("mixup-final-000-seed1", "completed", "32.00"),
    ]
    assert "## Superseded final runs" in as_markdown(results, more.folder.best)
    frame = pd.read_csv(io.StringIO(runs_frame(results).to_csv(index=False)))
    assert frame.set_index("trial").superseded.to_dict() == {
        "mixup-final-001-seed0": False,
        "mixup-final-000-seed0": True,
        "mixup-final-000-seed1": True,
    }
    html, *_ = write(more.folder, more.state)
    assert "<h2>Superseded final runs</h2>" in html.read_text(encoding="utf-8")


def test_a_final_run_that_was_stopped_for_it_is_shown_without_an_error(more):
    more.suggest("mixup-final-000-seed9", "mixup", "final", 0, 9, more.state.trials["mixup-000"].params)
    more.end("mixup-final-000-seed9", "superseded")
    row = superseded_table(Results.of(more.state)).rows[-1]
    assert row[:4] == ("mixup-final-000-seed9", "superseded", "–", "0")


def test_a_search_whose_budget_is_spent_has_nothing_to_come_but_what_runs(book):
    made = book(methods=["none", "mixup"], search={"trials": 9, "budget": {"epochs": 6}}, final={"seeds": [0]})
    made.search("none", 0, [0.5, 0.3, 0.2, 0.10])
    made.search("none", 1, [0.5, 0.3], "stopped", pruned_at=2)
    made.search("mixup", 0, [0.5, 0.3, 0.2, 0.10])
    made.suggest("mixup-001", "mixup", "search", 1, 1, made.document.paper_setting("mixup"))
    made.rows("mixup-001", [0.5, 0.3])
    none, mixup = Results.of(made.state).methods
    assert (none.search_to_come, none.finals_to_come) == (0, 1)
    assert (mixup.search_to_come, mixup.finals_to_come) == (1, 1)
    made.end("mixup-001", "failed", {"class": "E", "message": "m"})
    assert Results.of(made.state).methods[1].search_to_come == 0


def test_what_was_spent_stands_beside_each_budget(book):
    limits = {"epochs": 6, "cpu_hours": 0.5, "wall_hours": 3}
    made = book(methods=["none", "mixup"], search={"trials": 9, "budget": limits})
    made.search("none", 0, [0.5, 0.3, 0.2, 0.10])
    made.search("none", 1, [0.5, 0.3], "stopped", pruned_at=2)
    made.search("mixup", 0, [0.5], "stopped", pruned_at=1)
    epochs, cpu, wall = parities(Results.of(made.state))[3:]
    assert epochs == "Spent of 6 epochs for each search: none 6, mixup 1."
    assert cpu == "Spent of 0.5 CPU-hours for each search: none 0.00333, mixup 0.000556."  # 12 s and 2 s of one core
    assert wall.startswith("Spent of 3.0 h of wall time: ")


def test_without_a_budget_nothing_is_said_of_one(finished):
    assert len(parities(Results.of(finished.state))) == 3
