"""What one sees while a campaign runs."""

import io
import re

from rich.console import Console

from tuner.reporting.progress import Progress


def follow(book, act, terminal=False, width=200):
    """The text that `act(book)` shows, with every record going to the state and then to the progress."""
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    state = book.state
    with Progress(state, console) as progress:
        book.ledger.listen(state.apply)
        book.ledger.listen(progress.listener)
        act(book)
    return console.file.getvalue()


def three_trials(book):
    book.search("none", 0, [0.5, 0.3, 0.2, 0.105])
    book.search("mixup", 0, [0.5], "stopped", pruned_at=1, lr=0.08765, alpha=0.41)
    book.search("cutmix", 0, [], "failed", error={"class": "OutOfMemoryError", "message": "too [bold]big\nsecond line"})
    book.final("none", 0, 2, 0.0207)


def test_plain_lines_one_a_trial_that_ended(book):
    lines = follow(book(), three_trials).splitlines()
    assert [re.sub(" {2,}", "  ", line) for line in lines] == [
        "[ 1/18]  none-000  completed  at epoch 4  val error 10.50 %  lr 0.1  weight_decay 0.0005",
        "[ 2/18]  mixup-000  stopped  at epoch 1  val error 50.00 %  lr 0.0877  weight_decay 0.0005  alpha 0.41",
        "[ 3/18]  cutmix-000  failed  at epoch 0  OutOfMemoryError: too [bold]big",
        "[ 4/18]  none-final-000-seed2  completed  at epoch 4  test error  2.07 %",
    ]
    assert len({line.index(" at epoch") for line in lines}) == 1  # the columns stand below each other


def test_lines_are_not_wrapped_in_a_narrow_pipe(book):
    assert len(follow(book(), three_trials, width=40).splitlines()) == 4


def test_a_resumed_campaign_counts_what_is_there(book):
    made = book()
    made.search("none", 0, [0.5, 0.3, 0.2, 0.1])
    made.search("none", 1, [0.5], "stopped", pruned_at=1)
    text = follow(made, lambda book: book.search("none", 2, [0.5], "stopped", pruned_at=1))
    assert text.startswith("[ 3/18]  none-002")
    assert len(text.splitlines()) == 1


def test_terminal_has_a_table_of_the_methods_above_which_the_lines_scroll(book):
    made = book()
    made.search("mixup", 0, [0.5, 0.3, 0.2, 0.0625])
    made.search("mixup", 1, [0.9], "stopped", pruned_at=1)
    made.suggest("mixup-002", "mixup", "search", 2, 1, made.document.paper_setting("mixup"))
    made.final("mixup", 0, 0, 0.0311)
    text = follow(made, lambda book: book.search("none", 0, [0.5, 0.3, 0.2, 0.1]), terminal=True)
    row = next(line for line in text.splitlines() if line.strip().startswith("mixup "))
    assert row.split() == ["mixup", "2/3", "1", "6.25", "1/3", "3.11"]
    assert "[ 4/18]  none-000" in text
