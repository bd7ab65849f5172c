"""The report as files: one self-contained page, the same as Markdown, and the final runs as CSV."""

import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from tuner.campaign import yaml_file
from tuner.campaign.fold import State
from tuner.campaign.folder import Folder
from tuner.reporting import figures, files
from tuner.reporting.export import configuration
from tuner.reporting.notation import setting
from tuner.reporting.results import Results, StudyResult
from tuner.reporting.tables import all_tables, runs_frame
from tuner.reporting.verdict import parities, verdict, warnings


def write(folder: Folder, state: State) -> tuple[Path, Path, Path]:
    """Writes report/index.html, report/report.md and report/results.csv of the campaign; their paths."""
    results = Results.of(state)
    return (
        files.write(folder.report / "index.html", as_html(results, folder.best)),
        files.write(folder.report / "report.md", as_markdown(results, folder.best)),
        files.write(folder.report / "results.csv", runs_frame(results).to_csv(index=False)),
    )


def as_html(results: Results, best: Path) -> str:
    """The page. It loads nothing, runs no script, and escapes every text that it did not write itself.

    Args:
        results: of a campaign, finished or not.
        best: the folder that the best configurations are exported to.
    """
    return _template().render(
        results=results,
        facts=results.opened["facts"],
        started=f"{datetime.fromtimestamp(results.opened['time'], UTC):%Y-%m-%d %H:%M} UTC",
        verdict=verdict(results),
        warnings=warnings(results),
        parities=parities(results),
        tables={table.title: table for table in all_tables(results)},
        final_errors=Markup(figures.final_errors(results)),
        learning_curves=Markup(figures.learning_curves(results)),
        studies=[_study(results, study, best) | _drawings(results, study) for study in results.studies],
        document=_document(results),
    )


def as_markdown(results: Results, best: Path) -> str:
    """What the page says, without its figures."""
    blocks = [f"# {results.document.name}", *verdict(results), *(f"> {line}" for line in warnings(results))]
    for table in all_tables(results):
        blocks += [f"## {table.title}", table.as_markdown(), table.caption]
    blocks += ["\n".join(f"- {line}" for line in parities(results)), "## Best settings"]
    studies = [_study(results, study, best) for study in results.studies if study.best]
    blocks += [f"- {study['name']}: `{study['setting']}`, run again with `{study['command']}`" for study in studies]
    blocks += ["## The campaign", f"```yaml\n{_document(results)}```"]
    return "\n\n".join(blocks) + "\n"


def _study(results: Results, study: StudyResult, best: Path) -> dict[str, Any]:
    """What page and Markdown say of one study alone."""
    return {
        "name": study.name,
        "colour": figures.styles(results)[study.method].colour,
        "counts": ", ".join(f"{number} {status}" for status, number in study.counts.most_common()),
        "setting": setting(study.best.params) if study.best else "",
        "chosen": study.best,
        "command": f"uv run tune.py rerun {files.shown(best / f'{study.name}.yaml')}",
        "configuration": configuration(results.document, study),
    }


def _drawings(results: Results, study: StudyResult) -> dict[str, Markup]:
    return {draw.__name__: Markup(draw(results, study)) for draw in (figures.search, figures.hyperparameters)}


def _document(results: Results) -> str:
    """The document as YAML, without the password that the address of a tracking server may hold."""
    return re.sub(r"(?<=://)[^\s/@]+@", "***@", yaml_file.dump(results.document.as_yaml()))


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")
