"""What other schedulers and machines would have found and cost, for a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tuner.campaign.document import Document
from tuner.campaign.simulation import Played, Setup
from tuner.reporting.notation import NOTHING, counted, duration, points

AS_RUN = "as it ran"


def print_simulations(document: Document, was: Played, played: Sequence[Played], console: Console) -> None:
    """The recorded campaign, then the simulated ones: time, cost, and how much worse the chosen trials are."""
    on_gpus = document.resources.gpu > 0
    table = _table(f"Simulations of {document.name}", ("", "search"))
    for heading in ("at once", "trials", "stopped", "wall time", "GPU-hours" if on_gpus else "CPU-hours"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("mean regret", "worst", "assumed epochs"):
        table.add_column(heading, justify="right")
    for number, each in enumerate((was, *played)):
        worst = max((regret for regret in each.regret.values() if regret is not None), default=None)
        table.add_row(
            str(number or ""),
            described(each.setup, document) if number else AS_RUN,
            str(each.setup.workers),
            f"{each.search_trials:,}",
            f"{each.stopped:,}",
            duration(each.wall_seconds),
            f"{each.spent.gpu_hours if on_gpus else each.spent.cpu_hours:,.2f}",
            _regret(each.mean_regret, document),
            _regret(worst, document),
            f"{each.extended_epochs:,} in {counted(len(each.extended), 'trial')}" if each.extended else NOTHING,
        )
    console.print(table)
    console.print(_by_study(document, was, played))
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


def _by_study(document: Document, was: Played, played: Sequence[Played]) -> Table:
    table = _table("Regret by study", ("study",))
    for number in range(len(played) + 1):
        table.add_column(str(number) if number else AS_RUN, justify="right", no_wrap=True)
    for study in was.regret:
        table.add_row(study, *(_regret(each.regret[study], document) for each in (was, *played)))
    return table


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


def _table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table
