"""The best configuration of a method as a campaign of its own, which `tune.py rerun` runs."""

from pathlib import Path
from typing import Any

from tuner.campaign import yaml_file
from tuner.campaign.document import Document
from tuner.campaign.fold import State, Trial
from tuner.campaign.spaces import SHARED
from tuner.reporting import files
from tuner.reporting.notation import counted, percent, spread
from tuner.reporting.results import MethodResult, Results


def export(state: State, out: Path) -> dict[str, Path]:
    """Writes `<out>/<method>.yaml` for every method that has a best configuration; the paths by method."""
    results = Results.of(state)
    texts = {method.name: configuration(results.document, method) for method in results.methods}
    return {name: files.write(out / f"{name}.yaml", text) for name, text in texts.items() if text}


def configuration(document: Document, method: MethodResult) -> str | None:
    """The text of such a campaign file: no search, everything that was tuned written out.

    None while no search trial of the method ran to its end. Where it is tracked is left out: that is for whoever runs
    it to say, and an address may hold a password.
    """
    if method.best is None and document.search.trials > 0:
        return None
    content = document.as_yaml()
    del content["tracking"]
    content |= {
        # As long as a name may be: the method's own part tells the campaigns apart.
        "name": f"{document.name[: 99 - len(method.name)]}-{method.name}",
        "methods": [{"name": method.name, **_hyperparameters(document, method)}],
        "training": {**content["training"], **_tuned_training(method.best)},
        "search": {**content["search"], "trials": 0},
        "spaces": {SHARED: {}, method.name: {}},
    }
    return _header(document, method) + yaml_file.dump(content)


def _hyperparameters(document: Document, method: MethodResult) -> dict[str, Any]:
    given, searched = document.method(method.name), method.best.hyperparameters if method.best else {}
    try:
        return given.regularizer(**searched).model_dump(mode="json")
    except ValueError:
        return {**given.fixed, **searched}  # of a package that is not here: its class keeps the other defaults


def _tuned_training(best: Trial | None) -> dict[str, Any]:
    tuned = best.params.keys() - best.hyperparameters.keys() if best else ()
    return {name: best.params[name] for name in sorted(tuned)}


def _header(document: Document, method: MethodResult) -> str:
    lines = [f"{method.name} as the campaign {document.name} left it.", _choice(document, method)]
    if summary := method.summary():
        error = spread(percent(summary.mean), percent(summary.std))
        lines.append(f"Test error {error} % over {counted(summary.n, 'final seed')}.")
    return "".join(f"# {line}\n" for line in lines)


def _choice(document: Document, method: MethodResult) -> str:
    best = method.best
    if best is None:
        return "Nothing was searched: this is the setting that the campaign was given."
    row, tried = best.rows[-1], counted(sum(trial.ended for trial in method.searched), "search trial")
    return (
        f"Trial {best.id}, the best of {tried} by validation {document.search.metric}: "
        f"validation error {percent(row['val_error'])} %, NLL {row['val_nll']:.4f}."
    )
