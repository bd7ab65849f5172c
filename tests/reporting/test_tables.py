"""The tables hold what the results are, and every rendering holds what the table does."""

import io
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from tuner.reporting.results import Results
from tuner.reporting.tables import all_tables, broken_table, comparison_table, final_table, runs_frame, search_table


def parsed(markdown):
    """The cells of a Markdown table, its heading first."""
    lines = [line for line in markdown.splitlines() if set(line) - set("|:- ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.fixture
def results(finished):
    return Results.of(finished.state)


def test_final_table_by_hand(results):
    table = final_table(results)
    assert [column.heading for column in table.columns][:4] == ["method", "test error, %", "95 % CI, %", "n"]
    # cutmix: mean 6.10, std 1.10, margin 4.3027 * 1.10 / sqrt(3) = 2.73; 4 + 4 + 2 epochs of 2 s
    assert table.rows[0] == ("cutmix", "6.10 ± 1.10", "[3.37, 8.83]", "3", "5.00", "3", "10", "20 s")
    assert [row[0] for row in table.rows] == ["cutmix", "mixup", "none"]


def test_comparison_table_says_what_is_shown(results):
    readings = {row[:2]: row[-1] for row in comparison_table(results).rows}
    assert readings["cutmix", "none"] == "cutmix is better"
    assert readings["cutmix", "mixup"] == "no difference shown"


def test_search_table_by_hand(results):
    # mixup searches lr, weight_decay and alpha: 8.00 as published, 6.00 tuned, 9.00 over the final runs
    assert search_table(results).rows[1] == ("mixup", "3", "8.00", "6.00", "+2.00", "9.00", "+3.00")


def test_markdown_holds_every_cell(results):
    for table in all_tables(results):
        if table.title == "Failures":
            continue
        heading, *rows = parsed(table.as_markdown())
        assert heading[0] == table.columns[0].heading
        assert [tuple(row) for row in rows] == list(table.rows)


def test_markdown_of_a_hostile_message_stays_one_cell_and_no_html(results):
    markdown = broken_table(results).as_markdown()
    assert len(markdown.splitlines()) == 3
    assert "<script>" not in markdown
    assert r"no \| memory [bold] &lt;script>" in markdown


def test_terminal_shows_brackets_and_does_not_cut_numbers(results):
    console = Console(file=io.StringIO(), width=80)
    console.print(final_table(results).as_rich())
    text = console.file.getvalue()
    for row in final_table(results).rows:
        for cell in row:
            assert cell in text


def test_a_long_name_and_the_wide_interval_of_a_failed_seed_fit_into_eighty_columns(results):
    row = ("patchup_hard", "9.48 ± 11.67", "[-5.01, 23.97]", "5", "3.50", "12", "1,266", "16 min")
    console = Console(file=io.StringIO(), width=80)
    console.print(replace(final_table(results), rows=(row,)).as_rich())
    assert console.file.getvalue().splitlines()[-1].split() == " ".join(row).split()


def test_terminal_shows_a_message_as_it_stands(results):
    console = Console(file=io.StringIO(), width=200)
    console.print(broken_table(results).as_rich())
    assert "no | memory [bold] <script>alert(1)</script>" in console.file.getvalue()


def test_csv_is_one_row_a_final_run(results):
    frame = pd.read_csv(io.StringIO(runs_frame(results).to_csv(index=False)))
    assert list(frame.columns[:3]) == ["method", "seed", "trial"]
    assert len(frame) == 9
    row = frame.set_index(["method", "seed"]).loc[("cutmix", 1)]
    assert (row.test_error, row.cutmix_prob, row.epochs, row.seconds) == (0.072, 0.75, 4, 8.0)
    assert row.lr == 0.1  # of the setting; the row's own is where the schedule ended
    assert frame.set_index("method").loc["none", "alpha"].isna().all()


def test_tables_of_a_campaign_that_has_just_begun(book):
    results = Results.of(book().state)
    assert final_table(results).rows[0] == ("none", "–", "–", "0", "–", "0", "0", "0 s")
    assert "Every two methods" not in [table.title for table in all_tables(results)]
    assert broken_table(results).as_markdown()
    assert list(runs_frame(results).columns) == ["method", "seed", "trial"]
