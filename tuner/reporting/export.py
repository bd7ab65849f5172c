"""The best configuration of a method as a campaign of its own, which `tune.py rerun` runs."""

from pathlib import Path
from typing import Any

from tuner.campaign import yaml_file
from tuner.campaign.document import Document
from tuner.campaign.fold import State
from tuner.campaign.spaces import SHARED
from tuner.campaign.trial import Trial
from tuner.reporting import files
from tuner.reporting.notation import counted, percent, spread
from tuner.reporting.results import Results, StudyResult


def export(state: State, out: Path) -> dict[str, Path]:
    """Writes `<out>/<study>.yaml` for every study that has a best configuration; the paths by study."""
    results = Results.of(state)
    texts = {study.name: configuration(results.document, study) for study in results.studies}
    return {name: files.write(out / f"{name}.yaml", text) for name, text in texts.items() if text}


def configuration(document: Document, study: StudyResult) -> str | None:
    """The text of such a campaign file: no search, everything that was tuned written out.

    None while no search trial of the study ran to its end. Where it is tracked is left out: that is for whoever runs
    it to say, and an address may hold a password.
    """
    if study.best is None and document.search.trials > 0:
        return None
    content = document.as_yaml()
    del content["tracking"]
    # A search of no trials has nothing to spend and nothing to learn from.
    search = {key: value for key, value in content["search"].items() if key not in ("budget", "warm_start")}
    content |= {
        # As long as a name may be: the study's own part tells the campaigns apart.
        "name": f"{document.name[: 99 - len(study.name)]}-{study.name}",
        "methods": [{"name": study.method, **_hyperparameters(document, study)}],
        "training": {**content["training"], **_tuned_training(study.best)},
        "search": {**search, "trials": 0, "replicates": 1},
        "spaces": {SHARED: {}, study.method: {}},
    }
    return _header(document, study) + yaml_file.dump(content)


def _hyperparameters(document: Document, study: StudyResult) -> dict[str, Any]:
    given, searched = document.method(study.method), study.best.hyperparameters if study.best else {}
    try:
        return given.regularizer(**searched).model_dump(mode="json")
    except ValueError:
        return {**given.fixed, **searched}  # of a package that is not here: its class keeps the other defaults


def _tuned_training(best: Trial | None) -> dict[str, Any]:
    tuned = best.params.keys() - best.hyperparameters.keys() if best else ()
    return {name: best.params[name] for name in sorted(tuned)}


def _header(document: Document, study: StudyResult) -> str:
    lines = [f"{study.name} as the campaign {document.name} left it.", _choice(document, study)]
    if summary := study.summary():
        error = spread(percent(summary.mean), percent(summary.std))
        lines.append(f"Test error {error} % over {counted(summary.n, 'final seed')}.")
    return "".join(f"# {line}\n" for line in lines)


def _choice(document: Document, study: StudyResult) -> str:
    best = study.best
    if best is None:
        return "Nothing was searched: this is the setting that the campaign was given."
    row, tried = best.rows[-1], counted(sum(trial.ended for trial in study.searched), "search trial")
    return (
        f"Trial {best.id}, the best of {tried} by validation {document.search.metric}: "
        f"validation error {percent(row['val_error'])} %, NLL {row['val_nll']:.4f}."
    )
