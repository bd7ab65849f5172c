"""The plan of a campaign, for a terminal."""

from rich.console import Console
from rich.table import Table

from tuner.campaign.document import Document
from tuner.campaign.plan import Plan


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
            f"{method.expected_seconds / 60:.1f}",
        )
    console.print(table)
    rungs = ", ".join(map(str, plan.rungs)) or "none"
    console.print(
        f"{plan.trials} trials, {sum(m.most_epochs for m in plan.methods):,} epochs at most and about "
        f"{plan.expected_epochs:,.0f} expected (rungs at epochs {rungs}); about {plan.expected_minutes:.1f} minutes on "
        f"{plan.workers} worker{'s' if plan.workers > 1 else ''}.",
        highlight=False,
        soft_wrap=True,
    )
    for warning in plan.warnings:
        console.print(f"Warning: {warning}", style="yellow", highlight=False)
