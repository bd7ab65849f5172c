"""A campaign while it runs: one line per ended trial, and on a terminal a table of the methods below them."""

import time
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tuner.campaign.fold import State
from tuner.campaign.ledger import Record
from tuner.campaign.trial import Trial
from tuner.reporting.notation import NOTHING, percent, reason, setting
from tuner.reporting.results import Results

_SECONDS_BETWEEN_FRAMES = 0.25
_STYLES = {
    "completed": "green",
    "stopped": "dim",
    "audited": "dim",
    "superseded": "dim",
    "diverged": "red",
    "failed": "red",
}


class Progress:
    """Shows what each new fact of the ledger means. Use it as a context, and give `listener` to the campaign.

    Args:
        state: the campaign's; every record must have reached it before it reaches `listener`.
        console: of a terminal or not: a pipe gets plain lines.
    """

    def __init__(self, state: State, console: Console):
        self._state, self._console = state, console
        document = state.document
        studies = document.studies
        self._planned = sum(document.most_trials(study.method) + len(document.final.seeds) for study in studies)
        self._width = max(len(f"{s.name}-final-000-seed{max(document.final_seeds(s))}") for s in studies)
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
        state = self._state
        ended = sum(trial.ended for trial in state.trials.values())
        total = self._planned + sum(len(state.superseded(study.name)) for study in state.document.studies)
        count = f"[{ended:>{len(str(total))}}/{total}]"
        return Text.assemble(
            f"{count}  {trial.id:<{self._width}}  ",
            (f"{trial.status:<9}", _STYLES[trial.status]),
            f"  at epoch {trial.epoch:<{len(str(self._state.document.training.epochs))}}   {_outcome(trial)}",
        )

    def _draw(self) -> None:
        self._live.update(self._table(), refresh=True)
        self._drawn_at = time.monotonic()

    def _table(self) -> Table:
        results = Results.of(self._state)
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("study" if results.replicated else "method")
        for heading in ("search", "running", "best val error, %", "final", "test error, %"):
            table.add_column(heading, justify="right")
        for study in results.studies:
            summary, running = study.summary(), sum(not trial.ended for trial in (*study.searched, *study.finals))
            table.add_row(
                Text(study.name),
                f"{study.search_ended}/{study.search_ended + study.search_to_come}",
                str(running or NOTHING),
                percent(study.best_error),
                f"{study.finals_ended}/{study.finals_ended + study.finals_to_come}",
                percent(summary.mean) if summary else NOTHING,
            )
        return table


def _outcome(trial: Trial) -> str:
    """What a trial showed, or what broke it."""
    if trial.status in ("failed", "diverged"):
        return reason(trial.error)
    row = trial.rows[-1] if trial.rows else {}  # a superseded trial may have none
    if trial.kind == "final":
        return f"test error {percent(row.get('test_error')):>5} %"
    return f"val error {percent(row.get('val_error')):>5} %   {setting(trial.params)}"
