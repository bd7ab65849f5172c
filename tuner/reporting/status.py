"""How a campaign stands, running or not: read off its ledger and its lock file, without a word to its driver."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tuner.campaign.agenda import next_step
from tuner.campaign.fold import State
from tuner.campaign.folder import Folder
from tuner.campaign.lock import Holder, holder
from tuner.campaign.study import Study
from tuner.campaign.trial import Trial
from tuner.reporting.budgets import budgets
from tuner.reporting.following import Following
from tuner.reporting.notation import NOTHING, counted, duration, percent, reason
from tuner.reporting.results import Results

RECENT_SECONDS = 300.0
"""The past that a pace is taken from."""

REFRESH_SECONDS = 2.0

MOST_FAILURES = 10
"""Of which each has a line; the report has all."""


@dataclass(frozen=True)
class Status:
    """A campaign at one moment."""

    state: State
    holder: Holder | None
    now: float
    driven_from: float  # when its last driver took it up
    last: float  # when its last line was written

    @property
    def runs(self) -> bool:
        """Whether a driver has it, as far as that can be told from here."""
        return self.holder is not None and self.holder.lives is not False

    @property
    def complete(self) -> bool:
        return next_step(self.state, set()) == "done"

    @property
    def epochs_a_minute(self) -> float | None:
        """Over the last minutes in which a driver ran it; None before there is anything to count."""
        until = self.now if self.runs else self.last
        since = max(until - RECENT_SECONDS, self.driven_from)
        epochs = sum(_later(trial.times, since) for trial in self.state.trials.values())
        return 60 * epochs / (until - since) if epochs and until > since else None

    @property
    def epochs_left(self) -> float:
        """As expected: a search trial takes as many as those that ended, and as many as it may before the first did."""
        state, full = self.state, self.state.document.training.epochs
        ended = [trial.epoch for trial in state.trials.values() if trial.kind == "search" and trial.ended]
        searched = sum(ended) / len(ended) if ended else float(full)
        begun = sum(_expected_epochs(trial, searched, full) - trial.epoch for trial in state.unended())
        return begun + sum(_epochs_to_come(state, study, searched) for study in state.document.studies)

    @property
    def seconds_left(self) -> float | None:
        pace = self.epochs_a_minute
        return 60 * self.epochs_left / pace if pace else None

    @property
    def wall_seconds(self) -> float:
        return self.state.wall_seconds + (self.now - self.last if self.runs else 0.0)


def _later(times: list[float], since: float) -> int:
    return sum(1 for _ in takewhile(lambda at: at > since, reversed(times)))


def _expected_epochs(trial: Trial, searched: float, full: int) -> float:
    if trial.kind == "search" and trial.pruned_at is None and trial.epoch < searched:
        return searched
    return full


def _epochs_to_come(state: State, study: Study, searched: float) -> float:
    """Of trials that were not suggested yet."""
    document, epochs = state.document, 0.0
    if state.may_suggest(study.name):
        epochs += searched * (document.most_trials(study.method) - len(state.searched(study.name)))
    if state.best(study.name) or not state.searched_out(study.name) or not document.search.trials:
        epochs += document.training.epochs * (len(document.final.seeds) - len(state.finals(study.name)))
    return epochs


def status_of(following: Following) -> Status:
    """The status now; raises LedgerError as `catch_up` does."""
    # In this order: a driver that ends between the two looks is then not taken for one that left work behind.
    held = holder(following.folder.ledger)
    following.catch_up()
    return Status(following.state, held, time.time(), following.driven_from, following.last)


def show_status(folder: Folder, console: Console) -> None:
    """Prints how the campaign stands now."""
    console.print(rendered(status_of(Following(folder))), soft_wrap=True)


def watch_status(folder: Folder, console: Console) -> None:
    """Shows how the campaign stands until it is complete, or until Ctrl-C; a pipe gets the last status alone."""
    following = Following(folder)
    try:
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
            while True:
                status = status_of(following)
                live.update(rendered(status), refresh=True)
                if status.complete:
                    return
                time.sleep(REFRESH_SECONDS)
    except KeyboardInterrupt:
        return


def rendered(status: Status) -> RenderableType:
    """For a terminal or a pipe."""
    state = status.state
    spent = {study.name: state.spent(study.name) for study in state.document.studies}
    lines = [*_summary(status), *budgets(state.document, spent, status.wall_seconds), *_failures(state)]
    return Group(Text(f"{state.document.name}: {_driver(status)}", style="bold"), _table(status), *map(Text, lines))


def _driver(status: Status) -> str:
    held = status.holder
    if status.complete:
        return "complete" if held is None else f"complete; {held.name} still has it open"
    if held is None:
        return "no driver runs it; the command that began it goes on"
    if held.lives:
        return f"running, by {held.name}"
    if held.lives is False:
        return f"its driver ({held.name}) was killed; the command that began it goes on"
    return f"held by {held.name}; last sign of life {duration(held.silent_seconds)} ago"


def _table(status: Status) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("study", no_wrap=True)
    going = "running" if status.runs else "begun"
    for heading in ("search", "final", going, "left", "failed", "epochs", "best\nval, %", "test, %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for study in (study for method in Results.of(status.state).methods for study in method.studies):
        summary, trials = study.summary(), (*study.searched, *study.finals)
        table.add_row(
            Text(study.name),
            f"{study.search_ended}/{study.search_ended + study.search_to_come}",
            f"{study.finals_ended}/{study.finals_ended + study.finals_to_come}",
            str(sum(not trial.ended for trial in trials) or NOTHING),
            str(study.search_to_come + study.finals_to_come),
            str(len(study.broken) or NOTHING),
            f"{sum(trial.epoch for trial in trials):,}",
            percent(study.best_error),
            percent(summary.mean) if summary else NOTHING,
        )
    return table


def _summary(status: Status) -> Iterator[str]:
    trials = status.state.trials.values()
    ended, epochs = sum(trial.ended for trial in trials), sum(trial.epoch for trial in trials)
    yield f"{counted(ended, 'trial')} ended, {counted(epochs, 'epoch')}; driven for {duration(status.wall_seconds)}."
    pace = status.epochs_a_minute
    if status.complete or pace is None:
        return
    recent = "the last minutes" if status.runs else "its last minutes"
    yield (
        f"{pace:,.1f} epochs a minute over {recent}; about {counted(round(status.epochs_left), 'epoch')} left, "
        f"{'' if status.runs else 'once it goes on '}about {duration(status.seconds_left)}."
    )


def _failures(state: State) -> Iterable[str]:
    broken = [trial for trial in state.trials.values() if trial.status in ("failed", "diverged")]
    if len(broken) > MOST_FAILURES:
        yield f"{len(broken)} trials failed or diverged; the last {MOST_FAILURES}:"
    for trial in broken[-MOST_FAILURES:]:
        yield f"{trial.id} {trial.status} after epoch {trial.epoch}: {reason(trial.error)}"
