"""What the searches spent, beside what they were allowed."""

from collections.abc import Callable, Mapping

from tuner.campaign.document import Document
from tuner.campaign.trial import Spent
from tuner.reporting.notation import duration

_OF_EACH_STUDY: dict[str, tuple[str, Callable[[Spent], str], Callable[[float], str]]] = {
    "epochs": ("epochs", lambda spent: f"{spent.epochs:,}", lambda limit: f"{limit:,}"),
    "gpu_hours": ("GPU-hours", lambda spent: f"{spent.gpu_hours:.3g}", lambda limit: f"{limit:g}"),
    "cpu_hours": ("CPU-hours", lambda spent: f"{spent.cpu_hours:.3g}", lambda limit: f"{limit:g}"),
}


def budgets(document: Document, spent: Mapping[str, Spent], wall_seconds: float) -> list[str]:
    """A sentence for each limit that the document sets.

    Args:
        document: the campaign's.
        spent: by study, what its search trials cost.
        wall_seconds: how long a driver has run the campaign.
    """
    budget = document.search.budget
    if budget is None:
        return []
    lines = []
    for name, (unit, used, limited) in _OF_EACH_STUDY.items():
        if (limit := getattr(budget, name)) is not None:
            each = ", ".join(f"{study} {used(cost)}" for study, cost in spent.items())
            lines.append(f"Spent of {limited(limit)} {unit} for each search: {each}.")
    if budget.wall_hours is not None:
        lines.append(f"Spent of {duration(3600 * budget.wall_hours)} of wall time: {duration(wall_seconds)}.")
    return lines
