"""What a campaign takes from an earlier one: its trials where they answer the same question, else its best settings.

It is copied into the ledger when the campaign is opened: the earlier ledger may change or vanish afterwards.
"""

from collections.abc import Mapping
from typing import Any

from tuner.campaign import ledger
from tuner.campaign.document import Document
from tuner.campaign.faults import DocumentError, Fault, did_you_mean
from tuner.campaign.fold import State
from tuner.campaign.folder import Folder
from tuner.campaign.ledger import LedgerError
from tuner.campaign.observation import Observation
from tuner.campaign.spaces import as_searched
from tuner.campaign.trial import Trial


def warm_start_of(document: Document) -> dict[str, Any]:
    """For each method, the earlier campaign's best setting and the search trials to learn from; empty without one.

    Trials are taken, those of all replicates, where data set, split, model, training, metric, the method's fixed
    hyper-parameters and its space are the same. A curve holds the value at the end of a trial, and at the epochs that
    others were stopped at.

    Args:
        document: of the campaign that begins.
    Raises:
        DocumentError: there is no such campaign, it cannot be read, it has another metric, or nothing for some method:
            then methods would not begin alike.
    """
    if document.search.warm_start is None:
        return {}
    earlier, name = _read(document), document.search.warm_start
    if earlier.document.search.metric != document.search.metric:
        raise _error(
            document,
            f'"{name}" made its {earlier.document.search.metric} small, and this campaign is to make its '
            f"{document.search.metric} small; set search.metric to {earlier.document.search.metric}.",
        )
    taken, lacking = {}, []
    for method in document.methods:
        trials = _search_trials(earlier, method.name)
        complete = [trial for trial in trials if trial.status == "completed"]
        if not complete:
            lacking.append(method.name)
            continue
        same = _question(earlier.document, method.name) == _question(document, method.name)
        taken[method.name] = {
            "campaign": name,
            "best": min(complete, key=lambda t: (t.rows[-1][earlier.metric], t.rows[-1]["val_nll"])).params,
            "trials": _records(trials, earlier.metric) if same else [],
        }
    if lacking:
        raise _error(
            document,
            f'"{name}" has no complete search trial of {", ".join(lacking)}, so that the methods would not begin '
            "alike; leave out these methods, or the warm start.",
        )
    return taken


def known(warm_start: Mapping[str, Any], method: str) -> list[Observation]:
    """The trials that a method's samplers start with."""
    return [
        Observation(
            record["params"],
            record["outcome"],
            record["epoch"],
            {int(epoch): value for epoch, value in record["curve"].items()},
        )
        for record in warm_start.get(method, {}).get("trials", [])
    ]


def setting_to_try(warm_start: Mapping[str, Any], method: str) -> dict[str, Any]:
    """The earlier best setting, where its trial answered another question and so has to be tried here; else nothing."""
    taken = warm_start.get(method)
    return {name: as_searched(value) for name, value in taken["best"].items()} if taken and not taken["trials"] else {}


def _read(document: Document) -> State:
    name, path = document.search.warm_start, document.folder.parent
    others = sorted({folder.parent.name for folder in path.glob("*/ledger.jsonl")} - {document.name})
    if name not in others:
        own = "a campaign cannot learn from itself" if name == document.name else f'there is no campaign "{name}"'
        raise _error(document, f"{own}; {path} has {', '.join(others) or 'no other'}.{did_you_mean(name, others)}")
    try:
        state = State.of(record for record, _ in ledger.read(Folder(path / name).ledger))
    except (LedgerError, OSError) as error:
        raise _error(document, f'"{name}" cannot be read: {error}') from None
    if state.document is None:
        raise _error(document, f'"{name}" has nothing in its ledger yet.')
    return state


def _search_trials(state: State, method: str) -> list[Trial]:
    return [trial for study in state.document.studies if study.method == method for trial in state.searched(study.name)]


def _question(document: Document, method: str) -> dict[str, Any]:
    """What a trial's outcome depends on, apart from what is searched and chance."""
    content = document.as_yaml()
    dataset = {key: value for key, value in content["dataset"].items() if key not in document.dataset.without_effect}
    space = {name: dimension.model_dump(exclude={"points"}) for name, dimension in document.space(method).items()}
    parts = {name: content[name] for name in ("split", "model", "training")}
    return {**parts, "dataset": dataset, "fixed": document.method(method).fixed, "space": space}


def _records(trials: list[Trial], metric: str) -> list[dict[str, Any]]:
    stops = {trial.pruned_at for trial in trials if trial.pruned_at is not None}
    return [
        {
            "params": observation.params,
            "outcome": observation.outcome,
            "epoch": observation.epoch,
            "curve": {
                str(epoch): observation.curve[epoch]
                for epoch in sorted(stops | {observation.epoch})
                if epoch <= observation.epoch
            },
        }
        for observation in (Observation.of(trial, metric) for trial in trials)
        if observation.told
    ]


def _error(document: Document, sentence: str) -> DocumentError:
    return DocumentError([Fault(document.name, "search.warm_start", sentence)])
