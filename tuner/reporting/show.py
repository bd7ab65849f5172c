"""What one sees at the end of a campaign, and again whenever one asks: verdict, table, and where everything lies."""

import shlex

from rich.console import Console

from tuner.campaign.folder import Folder
from tuner.reporting import files, page
from tuner.reporting.export import export
from tuner.reporting.find import state_of
from tuner.reporting.results import Results
from tuner.reporting.tables import final_table
from tuner.reporting.verdict import verdict, warnings


def show(folder: Folder, console: Console) -> None:
    """Writes the report and the best configurations; prints the table, the verdict and where all of it lies."""
    state = state_of(folder)
    results = Results.of(state)
    best = export(state, folder.best)
    html, markdown, csv = page.write(folder, state)
    table = final_table(results)
    console.print(table.as_rich())
    console.print()
    _say(console, table.caption, style="dim")
    console.print()
    for line in verdict(results):
        _say(console, line, style="bold")
    for line in warnings(results):
        _say(console, line, style="yellow")
    console.print()
    _say(console, f"Report   {files.shown(html)} (and {markdown.name}, {csv.name})")
    if best:
        example = next(best[study.name] for method in results.ranked for study in method.studies if study.name in best)
        _say(console, f"Best     {files.shown(folder.best)}: {', '.join(path.name for path in best.values())}")
        _say(console, f"Rerun    uv run tune.py rerun {shlex.quote(files.shown(example))}")


def _say(console: Console, text: str, style: str = "") -> None:
    """As it stands: brackets are no markup, and no path is cut by a line break."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=not style)
