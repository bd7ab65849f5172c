"""The report's tables: the columns are defined here once, and rendered for a terminal, Markdown, HTML and CSV."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from tuner.campaign.trial import Trial
from tuner.reporting.notation import NOTHING, duration, interval, p_value, percent, points, setting, spread
from tuner.reporting.results import MethodResult, Pair, Results


@dataclass(frozen=True)
class Column:
    """A heading and what stands under it. Texts stand left, numbers right."""

    heading: str
    cell: Callable[[Any], str]
    text: bool = False


@dataclass(frozen=True)
class Table:
    """A table of texts with a title and a caption that says how to read it."""

    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, title: str, caption: str, columns: tuple[Column, ...], items: Iterable[Any]) -> "Table":
        """One row an item."""
        return cls(title, caption, columns, tuple(tuple(column.cell(item) for column in columns) for item in items))

    def as_rich(self) -> RichTable:
        """For a terminal."""
        table = RichTable(title=self.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False)
        table.pad_edge, table.collapse_padding = False, True
        for column in self.columns:
            side = "left" if column.text else "right"
            heading = fill(column.heading, 10, break_long_words=False)
            table.add_column(Text(heading), justify=side, overflow="fold", no_wrap=not column.text)
        for row in self.rows:
            table.add_row(*map(Text, row))  # as Text: a cell such as [1.88, 2.26] is no markup
        return table

    def as_markdown(self) -> str:
        """Without title and caption."""
        frame = pd.DataFrame(
            [[_markdown_safe(cell) for cell in row] for row in self.rows],
            columns=[column.heading for column in self.columns],
        )
        sides = ["left" if column.text else "right" for column in self.columns]
        return frame.to_markdown(index=False, disable_numparse=True, colalign=sides if self.rows else None)


def final_table(results: Results) -> Table:
    """Who won, and what it cost to find out."""
    final, epochs = results.document.final, results.document.training.epochs
    weights = f"after epoch {epochs}" if final.select == "last" else "of the epoch with the least validation error"
    noise = _NOISE_OF_TUNING.format(len(final.seeds)) if results.replicated else _NOISE_OF_TRAINING
    return Table.of(
        "Final runs",
        f"The best setting of each search, trained anew for each seed on {_FITTED_ON[final.fit_on]}, tested once with "
        f"the weights {weights}. {noise}",
        _FINAL_OF_STUDIES if results.replicated else _FINAL,
        results.ranked,
    )


def comparison_table(results: Results) -> Table:
    """Every two methods."""
    return Table.of(
        "Every two methods",
        "Test error of the first minus that of the second, in percentage points, paired by "
        f"{'replicate' if results.replicated else 'seed'}: negative means that the first is better. The interval is "
        f"that of the pair alone; Holm's p counts in that {len(results.pairs)} pairs are looked at, and a difference "
        "is shown where it is below .05. That none is shown does not mean that there is none.",
        _COMPARISONS,
        results.pairs,
    )


def metrics_table(results: Results) -> Table:
    """Everything that was measured on the test set."""
    top5 = any(method.tested("test_top5_error") for method in results.methods)
    return Table.of(
        "All test metrics",
        f"Mean ± standard deviation over the {'studies' if results.replicated else 'final seeds'}. NLL in nats; ECE is "
        "the gap between confidence and accuracy. The methods are compared by the error alone.",
        (*_METRICS, _TOP5) if top5 else _METRICS,
        [method for method in results.ranked if method.measured],
    )


def search_table(results: Results) -> Table:
    """What tuning brought, and how far the search can be believed."""
    return Table.of(
        "What tuning brought",
        "Validation errors in % at the last epoch. The paper's setting is trial 0 of each search; – where it did not "
        "run to the end. It and the chosen trial are one run each; the final runs are a mean. Gain: by how much the "
        "chosen trial is below the paper's setting. Optimism: by how much it is below its own final runs, which is the "
        "price of choosing a minimum.",
        (_name_of_study(results), *_SEARCH),
        results.studies,
    )


def spent_table(results: Results) -> Table:
    """What it cost."""
    return Table.of(
        "What was spent",
        "Time is that of the epochs, summed over trials that may have run side by side. Audited trials were stopped "
        "for the search but trained on unheard, to price early stopping: those wrongly stopped ended below the chosen "
        "one. They count in the epochs and the time, and so do failed ones as far as they are recorded.",
        (_name_of_study(results), *_SPENT),
        results.studies,
    )


def superseded_table(results: Results) -> Table:
    """Final runs that no longer count."""
    return Table.of(
        "Superseded final runs",
        "They refit what was the best setting of their search before the campaign was extended. They stay on record, "
        "and are in no mean.",
        _SUPERSEDED,
        [trial for method in results.methods for trial in method.superseded],
    )


def broken_table(results: Results) -> Table:
    """Trials that did not end well."""
    broken = [trial for method in results.methods for trial in method.broken]
    return Table.of(
        "Failures", "Each counts in its method's budget, but for the epoch that it broke in.", _BROKEN, broken
    )


def all_tables(results: Results) -> list[Table]:
    """Those that hold anything so far, in the order in which they are read."""
    tables = (
        final_table,
        comparison_table,
        metrics_table,
        search_table,
        spent_table,
        superseded_table,
        broken_table,
    )
    return [table for build in tables if (table := build(results)).rows]


def runs_frame(results: Results) -> pd.DataFrame:
    """One row a measured final run: method, seed, what its last epoch measured, and its hyper-parameters.

    Where studies are replicated it also says of which replicate, and where there are superseded runs, which they are.
    """
    runs = [
        {**_whose(trial, results), **_run(trial)}
        for method in results.ranked
        for trial in (*method.measured, *(run for run in method.superseded if run.status == "completed"))
    ]
    return pd.DataFrame(runs, columns=None if runs else ["method", "seed", "trial"])


def _whose(trial: Trial, results: Results) -> dict[str, Any]:
    replicate = {"replicate": trial.replicate} if results.replicated else {}
    superseded = {trial.id for method in results.methods for trial in method.superseded}
    return {"method": trial.method, **replicate, **({"superseded": trial.id in superseded} if superseded else {})}


def _run(trial: Trial) -> dict[str, Any]:
    row = trial.rows[-1]
    # The row's own "lr" is where the schedule ended; that of the setting stands among the hyper-parameters.
    measured = {name: value for name, value in row.items() if name.startswith(("test_", "val_", "train_", "selected_"))}
    return {
        "seed": trial.seed,
        "trial": trial.id,
        **measured,
        "epochs": trial.epoch,
        "seconds": trial.seconds,
        **trial.params,
    }


_NOISE_OF_TRAINING = (
    "Mean ± standard deviation, and the 95 % t interval of the mean: both show the noise of training over the seeds. "
    "Each method has one split and one search behind it: their noise is in no bar."
)

_NOISE_OF_TUNING = (
    "Each study is a search of its own, and counts once, with the mean of its {} final seeds. Mean ± standard "
    "deviation over the studies, and the 95 % t interval of the mean: both show the noise of tuning, with what the "
    "mean over the seeds leaves of that of training. Between studies: the same standard deviation. Between seeds: that "
    "of the final runs inside a study, pooled, which is the noise of training alone. All studies share one split: its "
    "noise is in no bar."
)

_FITTED_ON = {"train": "the training images", "trainval": "the training and the validation images"}


def _mean_std(metric: str, write: Callable[[float | None], str]) -> Callable[[MethodResult], str]:
    def cell(method: MethodResult) -> str:
        summary = method.summary(metric)
        return spread(write(summary.mean), write(summary.std)) if summary else NOTHING

    return cell


def _nats(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"


def _interval(method: MethodResult) -> str:
    summary = method.summary()
    return interval(percent(summary.low), percent(summary.high)) if summary else NOTHING


def _name_of_study(results: Results) -> Column:
    return Column("study" if results.replicated else "method", lambda study: study.name, text=True)


def _reading(pair: Pair) -> str:
    return f"{pair.first} is better" if pair.shown else "no difference shown"


def _markdown_safe(cell: str) -> str:
    """One cell of one line, and no HTML: the message of an exception can hold anything."""
    return re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", " ".join(cell.replace("|", "\\|").split()))


_NAME = Column("method", lambda method: method.name, text=True)

_FINAL = (
    _NAME,
    Column("test error, %", _mean_std("test_error", percent)),
    Column("95 % CI, %", _interval),
    Column("n", lambda method: str(len(method.tested()))),
    Column("best val error, %", lambda method: percent(method.best_error)),
    Column("search trials", lambda method: str(method.search_spent.trials)),
    Column("search epochs", lambda method: str(method.search_spent.epochs)),
    Column("search time", lambda method: duration(method.search_spent.seconds)),
)

_FINAL_OF_STUDIES = (
    *_FINAL[:4],
    Column("between studies", lambda method: percent(method.summary().std) if method.summary() else NOTHING),
    Column("between seeds", lambda method: percent(method.spread_within())),
    *_FINAL[4:],
)

_METRICS = (
    _NAME,
    Column("error, %", _mean_std("test_error", percent)),
    Column("NLL", _mean_std("test_nll", _nats)),
    Column("ECE, %", _mean_std("test_ece", percent)),
)

_TOP5 = Column("top-5 error, %", _mean_std("test_top5_error", percent))

_COMPARISONS = (
    Column("first", lambda pair: pair.first, text=True),
    Column("second", lambda pair: pair.second, text=True),
    Column("difference", lambda pair: points(pair.comparison.difference)),
    Column("95 % CI", lambda pair: interval(points(pair.comparison.low), points(pair.comparison.high))),
    Column("n", lambda pair: str(pair.comparison.n)),
    Column("p", lambda pair: p_value(pair.comparison.p)),
    Column("Holm p", lambda pair: p_value(pair.p_adjusted)),
    Column("", _reading, text=True),
)

_SEARCH = (
    Column("searched dimensions", lambda study: str(len(study.space))),
    Column("paper's setting", lambda study: percent(study.paper_error)),
    Column("chosen trial", lambda study: percent(study.best_error)),
    Column("gain", lambda study: points(study.tuning_gain)),
    Column("final runs", lambda study: percent(study.final_error)),
    Column("optimism", lambda study: points(study.optimism)),
)

_SPENT = (
    Column("search trials", lambda study: str(study.search_spent.trials)),
    Column("stopped", lambda study: str(study.counts["stopped"])),
    Column("audited", lambda study: str(study.counts["audited"])),
    Column("wrongly stopped", lambda study: str(len(study.wrongly_stopped))),
    Column("failed, diverged", lambda study: str(study.counts["failed"] + study.counts["diverged"])),
    Column("search epochs", lambda study: str(study.search_spent.epochs)),
    Column("search time", lambda study: duration(study.search_spent.seconds)),
    Column("final runs", lambda study: str(study.final_spent.trials)),
    Column("final epochs", lambda study: str(study.final_spent.epochs)),
    Column("final time", lambda study: duration(study.final_spent.seconds)),
)

_SUPERSEDED = (
    Column("trial", lambda trial: trial.id, text=True),
    Column("status", lambda trial: trial.status or "not ended", text=True),
    Column("test error, %", lambda trial: percent(trial.rows[-1].get("test_error") if trial.rows else None)),
    Column("epochs", lambda trial: str(trial.epoch)),
    Column("time", lambda trial: duration(trial.seconds)),
    Column("setting", lambda trial: setting(trial.params), text=True),
)

_BROKEN = (
    Column("trial", lambda trial: trial.id, text=True),
    Column("status", lambda trial: trial.status, text=True),
    Column("after epoch", lambda trial: str(trial.epoch)),
    Column("class", lambda trial: (trial.error or {}).get("class", NOTHING), text=True),
    Column("message", lambda trial: (trial.error or {}).get("message", NOTHING), text=True),
)
