"""What other schedulers and machines would have found and cost, for a terminal."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from tuner.campaign.document import Document
from tuner.campaign.simulation import Played, Setup
from tuner.reporting.notation import NOTHING, counted, duration, points

AS_RUN = "as it ran"

COLUMNS = 6
"""Searches side by side in one table: what 80 characters hold beside the name of a study."""


def print_simulations(document: Document, was: Played, played: Sequence[Played], console: Console) -> None:
    """The recorded campaign, then the simulated ones: time, cost, and how much worse the chosen trials are."""
    on_gpus = document.resources.gpu > 0
    hours = "GPU-hours" if on_gpus else "CPU-hours"
    numbers = ["at once", "trials", "stopped", "wall time", hours]
    costs = _table(f"Simulations of {document.name}", ["", "search"], numbers)
    regrets = _table("Regret", [""], ["mean", "worst", "assumed epochs"])
    for number, each in enumerate((was, *played)):
        costs.add_row(
            str(number or ""),
            described(each.setup, document) if number else AS_RUN,
            str(each.setup.workers),
            f"{each.search_trials:,}",
            f"{each.stopped:,}",
            duration(each.wall_seconds),
            f"{each.spent.gpu_hours if on_gpus else each.spent.cpu_hours:,.2f}",
        )
        worst = max((regret for regret in each.regret.values() if regret is not None), default=None)
        regrets.add_row(
            str(number or AS_RUN),
            _regret(each.mean_regret, document),
            _regret(worst, document),
            f"{each.extended_epochs:,} in {counted(len(each.extended), 'trial')}" if each.extended else NOTHING,
        )
    for table in (costs, regrets, *_by_study(document, was, played)):
        console.print(table)
    for line in _caption(document):
        console.print(line, style="dim", highlight=False)


def described(setup: Setup, document: Document) -> str:
    """asha, grace 15, reduction 2, 500 epochs: the scheduler with what it heeds, and a study's budget if it has one."""
    search, training = setup.search, document.training
    parts = [search.scheduler]
    if search.scheduler != "fifo":
        parts.append(f"grace {search.first_rung(training)}")
    if search.scheduler in ("asha", "hyperband"):
        parts.append(f"reduction {search.reduction}")
    if search.budget and search.budget.epochs:
        parts.append(f"{search.budget.epochs:,} epochs")
    return ", ".join(parts)


def _by_study(document: Document, was: Played, played: Sequence[Played]) -> Iterator[Table]:
    numbered = [(AS_RUN, was), *((str(number), each) for number, each in enumerate(played, start=1))]
    for start in range(0, len(numbered), COLUMNS):
        shown = numbered[start : start + COLUMNS]
        table = _table("Regret by study", ["study"], [heading for heading, _ in shown])
        for study in was.regret:
            table.add_row(study, *(_regret(each.regret[study], document) for _, each in shown))
        yield table


def _caption(document: Document) -> list[str]:
    unit = "percentage points of validation error" if document.search.metric == "error" else "nats of validation NLL"
    return [
        f"Regret, in {unit}: the trial that is chosen against the best one recorded at full length in its study; "
        f"{NOTHING} where no trial was chosen.",
        "Trial n has the setting and the curve recorded as trial n, whatever a sampler would have learnt. Assumed "
        "epochs lie behind the end of a recorded curve: its last values stay, and its epochs last as long as they did.",
    ]


def _regret(regret: float | None, document: Document) -> str:
    if document.search.metric == "error":
        return points(regret)
    return NOTHING if regret is None else f"{regret:+.4f}"


def _table(title: str, names: Sequence[str], numbers: Sequence[str]) -> Table:
    """Where it is too wide, names take two lines; numbers never do."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in names:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
