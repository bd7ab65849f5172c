"""What one sees at the end of a campaign, and again whenever one asks: verdict, table, and where everything lies."""

import shlex
from pathlib import Path

from rich.console import Console

from tuner.campaign import ledger
from tuner.campaign.fold import State
from tuner.campaign.folder import Folder, last_campaign
from tuner.reporting import files, page
from tuner.reporting.export import export
from tuner.reporting.results import Results
from tuner.reporting.tables import final_table
from tuner.reporting.verdict import verdict, warnings


class UnknownCampaign(ValueError):
    """There is no campaign of that name; the message lists those there are."""


def find(name: str | None, storage: Path) -> Folder:
    """The campaign of that name, or the one that was written last; raises UnknownCampaign."""
    if name is None:
        if folder := last_campaign(storage):
            return folder
        raise UnknownCampaign(f'There is no campaign in "{storage}" yet; uv run tune.py starts one.')
    folder = Folder(storage / name)
    if folder.ledger.exists():
        return folder
    known = ", ".join(sorted(path.parent.name for path in storage.glob("*/ledger.jsonl"))) or "none"
    raise UnknownCampaign(f'There is no campaign "{name}" in "{storage}". Campaigns there: {known}.')


def state_of(folder: Folder) -> State:
    """The state that the campaign's ledger tells, also while it is being written."""
    return State.of(record for record, _ in ledger.read(folder.ledger))


def show(folder: Folder, console: Console) -> None:
    """Writes the report and the best configurations; prints the table, the verdict and where all of it lies."""
    state = state_of(folder)
    results = Results.of(state)
    best = export(state, folder.best)
    html, markdown, csv = page.write(folder, state)
    table = final_table(results)
    console.print(table.as_rich())
    _say(console, table.caption, style="dim")
    console.print()
    for line in verdict(results):
        _say(console, line, style="bold")
    for line in warnings(results):
        _say(console, line, style="yellow")
    console.print()
    _say(console, f"Report   {files.shown(html)} (and {markdown.name}, {csv.name})")
    if best:
        example = next(best[method.name] for method in results.ranked if method.name in best)
        _say(console, f"Best     {files.shown(folder.best)}: {', '.join(path.name for path in best.values())}")
        _say(console, f"Rerun    uv run tune.py rerun {shlex.quote(files.shown(example))}")


def _say(console: Console, text: str, style: str = "") -> None:
    """As it stands: brackets are no markup, and no path is cut by a line break."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=not style)
