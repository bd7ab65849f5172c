"""What a recorded campaign is compared with when it is simulated."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from pydantic import ValidationError

from tuner.campaign.document import Document
from tuner.campaign.faults import DocumentError, Fault, faults_of
from tuner.campaign.fold import State
from tuner.campaign.settings import Budget, Search
from tuner.campaign.simulation import Setup, most_at_once

COMMAND = "tune.py simulate"
"""Where the faults of its options lie."""


def setups(
    state: State,
    schedulers: Sequence[str] = (),
    *,
    graces: Sequence[int] = (),
    reductions: Sequence[int] = (),
    trials: Sequence[int] = (),
    epochs: Sequence[int] = (),
    gpus: Sequence[int] = (),
    workers: Sequence[int] = (),
) -> list[Setup]:
    """Every combination of what is given, the rest as it was recorded; nothing given, a choice of schedulers.

    Args:
        state: the recorded campaign.
        schedulers, graces, reductions, trials: as in a document's `search`.
        epochs: budgets of each study, in the place of the recorded one.
        gpus: sizes of the cluster, for trials that train on GPUs.
        workers: the same as trials at once.
    Raises:
        DocumentError: with every option that is wrong.
    """
    search, faults = state.document.search, _size_faults(state.document, trials, epochs, gpus, workers)
    at_once = [*workers, *(_workers(state.document, count) for count in gpus)] or [most_at_once(state)]
    budgets = [Budget(epochs=most) for most in epochs if most >= 1]
    given = {"scheduler": schedulers, "grace": graces, "reduction": reductions, "trials": trials, "budget": budgets}
    given = {name: values for name, values in given.items() if values}
    searches = [] if given else _usual(search)
    for values in product(*given.values()) if given else ():
        try:
            searches.append(_search(search, dict(zip(given, values, strict=True))))
        except ValidationError as error:
            faults += [replace(fault, path=f"--{fault.path}") for fault in faults_of(error, Search, COMMAND)]
    length = state.document.training.epochs
    faults += [
        Fault(COMMAND, "--grace", f"got {grace}, must be at most training.epochs, which is {length}.")
        for grace in graces
        if grace > length
    ]
    if faults:
        raise DocumentError(dict.fromkeys(faults))
    distinct = dict.fromkeys(_without_idle_settings(each, search) for each in searches)
    return [Setup(each, count) for each, count in product(distinct, at_once)]


def _usual(search: Search) -> list[Search]:
    """Each scheduler, the recorded one first, and ASHA with other reductions."""
    others = [{"scheduler": name} for name in ("asha", "hyperband", "median", "fifo")]
    others += [{"scheduler": "asha", "reduction": reduction} for reduction in (2, 3, 4)]
    return list(dict.fromkeys([search, *(_search(search, other) for other in others)]))


def _without_idle_settings(each: Search, was: Search) -> Search:
    """With the recorded values of what its scheduler does not heed, so that nothing is played twice."""
    idle = {"fifo": ("grace", "reduction"), "median": ("reduction",)}.get(each.scheduler, ())
    return each.model_copy(update={name: getattr(was, name) for name in idle})


def _search(search: Search, changes: dict) -> Search:
    return Search.model_validate({**search.model_dump(), **changes})


def _workers(document: Document, gpus: int) -> int:
    """Trials that these GPUs have room for; none is spread over two."""
    share = document.resources.gpu
    return gpus * int(1 / share) if share else 0


def _size_faults(
    document: Document, trials: Sequence[int], epochs: Sequence[int], gpus: Sequence[int], workers: Sequence[int]
) -> list[Fault]:
    faults = [
        Fault(COMMAND, option, f"got {min(values)}, must be at least 1.")
        for option, values in (("--epochs", epochs), ("--gpus", gpus), ("--workers", workers))
        if values and min(values) < 1
    ]
    if gpus and not document.resources.gpu:
        faults.append(
            Fault(COMMAND, "--gpus", "the campaign trains on CPUs (resources.gpu is 0); write --workers instead.")
        )
    most = document.search.trials
    if trials and max(trials) > most:
        sentence = f"got {max(trials)}, must be at most the {most} search trials a study that the campaign has."
        faults.append(Fault(COMMAND, "--trials", sentence))
    if trials and min(trials) < 1:
        faults.append(Fault(COMMAND, "--trials", f"got {min(trials)}, must be at least 1: there is a search to play."))
    return faults
