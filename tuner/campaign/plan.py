"""What a campaign will take, before it takes it."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.campaign.document import Document, Method, Search
from tuner.campaign.preflight import Facts
from tuner.training.settings import Training

EVALUATION_COST = 1 / 3
"""A forward pass without gradients, in training steps."""


@dataclass(frozen=True)
class MethodPlan:
    """One method's share. Expected epochs and seconds count on ASHA stopping as many trials as its rule says."""

    method: str
    dimensions: int
    search_trials: int
    final_trials: int
    most_epochs: int
    expected_epochs: float
    expected_seconds: float  # of one worker


@dataclass(frozen=True)
class Plan:
    """The whole campaign's."""

    methods: tuple[MethodPlan, ...]
    workers: int
    rungs: tuple[int, ...]
    warnings: tuple[str, ...]

    @property
    def trials(self) -> int:
        return sum(method.search_trials + method.final_trials for method in self.methods)

    @property
    def expected_epochs(self) -> float:
        return sum(method.expected_epochs for method in self.methods)

    @property
    def expected_minutes(self) -> float:
        """Wall time from the first trial to the last, all workers busy."""
        return sum(method.expected_seconds for method in self.methods) / self.workers / 60


def plan(document: Document, facts: Facts, step_seconds: Mapping[str, float], workers: int) -> Plan:
    """The plan, from the seconds that one training step of each method takes and the trials that run at once."""
    rungs = document.search.rungs(document.training)
    methods = tuple(
        _method_plan(document, method, facts, step_seconds[method.name], rungs) for method in document.methods
    )
    return Plan(methods, workers, rungs, tuple(_warnings(document)))


def expected_search_epochs(search: Search, training: Training, rungs: tuple[int, ...]) -> float:
    """Epochs of one search trial: 1/reduction of those that reach a rung pass it, and audited ones run on."""
    epochs, share, last = 0.0, 1.0, 0
    for rung in rungs:
        epochs += share * (rung - last)
        stopped = share * (1 - 1 / search.reduction)
        epochs += stopped * search.audit * (training.epochs - rung)
        share, last = share / search.reduction, rung
    return epochs + share * (training.epochs - last)


def _method_plan(
    document: Document, method: Method, facts: Facts, step_seconds: float, rungs: tuple[int, ...]
) -> MethodPlan:
    training, finals = document.training, len(document.final.seeds)
    searched = expected_search_epochs(document.search, training, rungs)
    steps = -(-facts.train_images // training.batch_size)
    evaluated = facts.validation_images / training.batch_size * EVALUATION_COST / training.evaluate_every
    expected = document.search.trials * searched + finals * training.epochs
    return MethodPlan(
        method=method.name,
        dimensions=len(document.space(method.name)),
        search_trials=document.search.trials,
        final_trials=finals,
        most_epochs=(document.search.trials + finals) * training.epochs,
        expected_epochs=expected,
        expected_seconds=expected * (steps + evaluated) * step_seconds,
    )


def _warnings(document: Document) -> list[str]:
    search, safe = document.search, document.search.safe_grace(document.training)
    found = []
    rungs = search.rungs(document.training)
    if rungs and rungs[0] < safe:
        found.append(
            f"the first rung, at epoch {rungs[0]}, is earlier than {safe}: strong regularizers start slowly, "
            "and early rungs tend to stop them for it."
        )
    for method in document.methods:
        paper, space = document.paper_setting(method.name), document.space(method.name)
        outside = [name for name, dimension in space.items() if paper[name] not in dimension]
        if search.trials and outside:
            found.append(
                f"{method.name}: the paper's setting of {', '.join(outside)} lies outside the searched range, "
                "so trial 0 is not the paper's setting."
            )
    return found
