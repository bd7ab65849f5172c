"""The plan of a campaign, for a terminal: what will run, and what it will cost."""

from rich.console import Console
from rich.table import Table

from tuner.campaign.document import Document
from tuner.campaign.parity import Parity
from tuner.campaign.plan import Plan
from tuner.campaign.storage import megabytes
from tuner.reporting.notation import NOTHING, budget, counted, duration

MOST_RUNGS = 8
"""That are listed one by one."""

MACHINES = (1, 8, 64)
"""GPUs, or workers where trials use none, whose wall times are shown."""


def print_plan(plan: Plan, document: Document, console: Console) -> None:
    """What will run, at most and as expected, and every reason to think twice."""
    table = Table(title=f"Plan of {document.name}", title_justify="left", box=None, pad_edge=False)
    for heading, justify in (
        ("method", "left"),
        ("dimensions", "right"),
        ("search", "right"),
        ("final", "right"),
        ("most epochs", "right"),
        ("expected", "right"),
        ("worker minutes", "right"),
    ):
        table.add_column(heading, justify=justify, no_wrap=True)
    for method in plan.methods:
        table.add_row(
            method.method,
            str(method.dimensions),
            str(method.search_trials),
            str(method.final_trials),
            f"{method.most_epochs:,}",
            f"{method.expected_epochs:,.0f}",
            f"{method.expected_seconds / 60:.1f}" if plan.measured else NOTHING,
        )
    console.print(table)
    _say(
        console,
        f"{plan.trials} trials, {sum(m.most_epochs for m in plan.methods):,} epochs at most and about "
        f"{plan.expected_epochs:,.0f} expected (rungs at epochs {_rungs(plan)}){_minutes(plan)}.",
    )
    for warning in plan.warnings:
        console.print(f"Warning: {warning}", style="yellow", highlight=False)


def print_cost(plan: Plan, disk_bytes: int, price: float | None, console: Console) -> None:
    """Hours and money by method, disk, wall time on more hardware, and whether the report will rank.

    Args:
        plan: the campaign's.
        disk_bytes: the most that checkpoints and weights take.
        price: of a GPU-hour, or of a CPU-hour where trials use no GPU.
        console: where to.
    """
    unit = plan.unit
    if plan.measured:
        console.print()
        console.print(_cost_table(plan, unit, price))
        _say(console, _cost(plan, unit, price))
        _say(console, _wall_times(plan, unit))
    _say(console, f"Disk: up to {megabytes(disk_bytes)} of checkpoints and final weights at a time.")
    for parity in plan.parities():
        _say(console, _parity(parity, parity.unit == plan.document.search.parity))


def _rungs(plan: Plan) -> str:
    if len(plan.rungs) > MOST_RUNGS:
        return f"{plan.rungs[0]} to {plan.rungs[-1]}"
    return ", ".join(map(str, plan.rungs)) or "none"


def _minutes(plan: Plan) -> str:
    if not plan.measured:
        return ""
    return f"; about {plan.expected_minutes:.1f} minutes on {counted(plan.workers, 'worker')}"


def _cost_table(plan: Plan, unit: str, price: float | None) -> Table:
    table = Table(title=f"{unit}-hours, as expected", title_justify="left", box=None, pad_edge=False)
    table.add_column("method", no_wrap=True)
    for heading in ("search", "final", "together", *(["money"] if price is not None else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    for method in plan.methods:
        hours = [plan.hours(seconds) for seconds in (method.search_seconds, method.final_seconds)]
        money = [] if price is None else [f"{price * sum(hours):,.2f}"]
        table.add_row(method.method, *(_hours(amount) for amount in (*hours, sum(hours))), *money)
    return table


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 1000 else f"{hours:.3g}"


def _cost(plan: Plan, unit: str, price: float | None) -> str:
    hours = sum(plan.hours(method.expected_seconds) for method in plan.methods)
    money = "" if price is None else f", {price * hours:,.2f} at {price:g} a {unit}-hour"
    saved = plan.stopping_saves
    stopping = f" Early stopping is expected to save {100 * saved:.0f} % of the search's epochs." if saved else ""
    return f"About {_hours(hours)} {unit}-hours together{money}.{stopping}"


def _wall_times(plan: Plan, unit: str) -> str:
    hardware = "GPU" if unit == "GPU" else "worker"
    times = [f"{duration(plan.wall_seconds(count))} on {counted(count, hardware)}" for count in MACHINES]
    return (
        f"Wall time: about {', '.join(times)}; never below {duration(plan.shortest_wall_seconds)}, because at most "
        f"{counted(plan.document.search.concurrent, 'trial')} of a study {_runs(plan)} at once and its final runs wait "
        f"for its search.{_limit(plan)}"
    )


def _limit(plan: Plan) -> str:
    limits = plan.document.search.budget
    if limits is None or limits.wall_hours is None:
        return ""
    return f" Once {duration(3600 * limits.wall_hours)} of it are over, the searches suggest nothing more."


def _runs(plan: Plan) -> str:
    return "runs" if plan.document.search.concurrent == 1 else "run"


def _parity(parity: Parity, declared: bool) -> str:
    digits = 4 if parity.unit == "hours" else None
    low, high = (budget(round(parity.spent[name], digits), parity.unit) for name in parity.extremes)
    amounts = f"{high} each" if low == high else f"{low} ({parity.extremes[0]}) to {high} ({parity.extremes[1]})"
    expected = "" if parity.unit == "trials" else "expected to be "
    if not declared:
        return f"Search budget in {parity.unit}: {expected}{amounts}."
    law = "which the document asks to be equal"
    if parity.holds:
        return f"Search budget in {parity.unit}, {law}: {expected}{amounts}: the methods will be ranked."
    remedy = "" if parity.unit == "trials" else " A search.budget in that unit makes them equal."
    return (
        f"Search budget in {parity.unit}, {law}: {expected}{amounts}, {100 * parity.gap:.2g} % apart: the methods "
        f"would not be ranked.{remedy}"
    )


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)
