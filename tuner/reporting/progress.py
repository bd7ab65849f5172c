"""A campaign while it runs: one line per ended trial, and on a terminal a table of the methods below them."""

import time
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tuner.campaign.fold import State, Trial
from tuner.campaign.ledger import Record
from tuner.reporting.notation import NOTHING, percent, setting
from tuner.reporting.results import MethodResult, Results

_SECONDS_BETWEEN_FRAMES = 0.25
_STYLES = {"completed": "green", "stopped": "dim", "audited": "dim", "diverged": "red", "failed": "red"}


class Progress:
    """Shows what each new fact of the ledger means. Use it as a context, and give `listener` to the campaign.

    Args:
        state: the campaign's; every record must have reached it before it reaches `listener`.
        console: of a terminal or not: a pipe gets plain lines.
    """

    def __init__(self, state: State, console: Console):
        self._state, self._console = state, console
        document = state.document
        seeds = document.final.seeds
        self._total = len(document.methods) * (document.search.trials + len(seeds))
        longest = max(len(method.name) for method in document.methods)
        self._width = longest + len(f"-final-000-seed{max(seeds)}")
        # Frames are drawn by the listener alone: a thread of its own would read the state while it changes.
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._drawn_at = 0.0

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
            self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def listener(self, record: Record) -> None:
        """To be called with every record, behind the state's own `apply`."""
        if record["kind"] == "ended":
            trial = self._state.trials[record["trial"]]
            self._console.print(self._line(trial), soft_wrap=True)
        if self._live and time.monotonic() - self._drawn_at >= _SECONDS_BETWEEN_FRAMES:
            self._draw()

    def _line(self, trial: Trial) -> Text:
        ended = sum(trial.ended for trial in self._state.trials.values())
        count = f"[{ended:>{len(str(self._total))}}/{self._total}]"
        return Text.assemble(
            f"{count}  {trial.id:<{self._width}}  ",
            (f"{trial.status:<9}", _STYLES[trial.status]),
            f"  at epoch {trial.epoch:<{len(str(self._state.document.training.epochs))}}   {_outcome(trial)}",
        )

    def _draw(self) -> None:
        self._live.update(self._table(), refresh=True)
        self._drawn_at = time.monotonic()

    def _table(self) -> Table:
        document = self._state.document
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("method")
        for heading in ("search", "running", "best val error, %", "final", "test error, %"):
            table.add_column(heading, justify="right")
        for method in Results.of(self._state).methods:
            summary, running = method.summary(), sum(not trial.ended for trial in (*method.searched, *method.finals))
            table.add_row(
                Text(method.name),
                f"{document.search.trials - method.search_to_come}/{document.search.trials}",
                str(running or NOTHING),
                percent(method.best_error),
                f"{_ended(method)}/{len(document.final.seeds)}",
                percent(summary.mean) if summary else NOTHING,
            )
        return table


def _ended(method: MethodResult) -> int:
    return sum(trial.ended for trial in method.finals)


def _outcome(trial: Trial) -> str:
    """What a trial showed, or what broke it."""
    if trial.status in ("failed", "diverged"):
        error = trial.error or {}
        message = error.get("message", "").strip().split("\n")[0]
        return f"{error.get('class', '')}: {message}".strip(": ")
    row = trial.rows[-1]
    if trial.kind == "final":
        return f"test error {percent(row.get('test_error')):>5} %"
    return f"val error {percent(row.get('val_error')):>5} %   {setting(trial.params)}"
