"""What a campaign will take, before it takes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf

from tuner.campaign.document import Document, Method
from tuner.campaign.parity import TOLERANCE, Parity
from tuner.campaign.preflight import Facts
from tuner.campaign.settings import Resources
from tuner.campaign.stopping import expected_epochs, stopping_epochs
from tuner.campaign.wall_time import StudyTime, wall_seconds

EVALUATION_COST = 1 / 3
"""A forward pass without gradients, in training steps."""


@dataclass(frozen=True)
class MethodPlan:
    """One method's share, of all its studies. What is expected counts on the scheduler stopping what its rule says.

    Seconds are of one worker, and None where no step was measured.
    """

    method: str
    dimensions: int
    search_trials: int
    final_trials: int
    most_epochs: int
    search_epochs: float
    final_epochs: int
    search_seconds: float | None
    final_seconds: float | None

    @property
    def expected_epochs(self) -> float:
        return self.search_epochs + self.final_epochs

    @property
    def expected_seconds(self) -> float | None:
        return None if self.search_seconds is None else self.search_seconds + self.final_seconds


@dataclass(frozen=True)
class Plan:
    """The whole campaign's."""

    document: Document
    methods: tuple[MethodPlan, ...]
    workers: int | None
    rungs: tuple[int, ...]
    warnings: tuple[str, ...]

    @property
    def trials(self) -> int:
        return sum(method.search_trials + method.final_trials for method in self.methods)

    @property
    def expected_epochs(self) -> float:
        return sum(method.expected_epochs for method in self.methods)

    @property
    def measured(self) -> bool:
        """Whether the seconds of a step are known, and with them every time."""
        return self.workers is not None

    @property
    def expected_minutes(self) -> float:
        """Wall time from the first trial to the last, all workers busy."""
        return sum(method.expected_seconds for method in self.methods) / self.workers / 60

    @property
    def unit(self) -> str:
        """What is scarce: GPUs, or CPUs where a trial uses no GPU."""
        return "GPU" if self.document.resources.gpu else "CPU"

    def hours(self, seconds: float) -> float:
        """GPU-hours of a worker's seconds, or CPU-hours where a trial uses no GPU."""
        return seconds * (self.document.resources.gpu or self.document.resources.cpu) / 3600

    @property
    def stopping_saves(self) -> float:
        """The share of the search's epochs that early stopping is expected to save."""
        most = sum(method.search_trials for method in self.methods) * self.document.training.epochs
        return 1 - sum(method.search_epochs for method in self.methods) / most if most else 0.0

    def parities(self) -> tuple[Parity, ...]:
        """What the searches are expected to cost in each unit that is known; trials are exact."""
        spent = {
            "trials": {method.method: method.search_trials for method in self.methods},
            "epochs": {method.method: method.search_epochs for method in self.methods},
            "hours": {method.method: (method.search_seconds or 0.0) / 3600 for method in self.methods},
        }
        return tuple(Parity(unit, spent[unit]) for unit in TOLERANCE if self.measured or unit != "hours")

    def wall_seconds(self, units: int) -> float:
        """From the first trial to the last on so many GPUs; on so many workers where trials use no GPU."""
        return self._wall_seconds(concurrent_trials(self.document.resources, units))

    @property
    def shortest_wall_seconds(self) -> float:
        """However many GPUs there are: a study runs few trials at once, and its final runs wait for its search."""
        return self._wall_seconds(min(self.trials, self.document.resources.max_concurrent or self.trials))

    def _wall_seconds(self, workers: int) -> float:
        replicates = self.document.search.replicates
        studies = [_study_time(method, replicates) for method in self.methods for _ in range(replicates)]
        return wall_seconds(studies, self.document.search.concurrent, workers)


def concurrent_trials(resources: Resources, units: int) -> int:
    """Trials that run at once on so many GPUs, or on so many workers where a trial uses no GPU."""
    fits = units * int(1 / resources.gpu) if resources.gpu else units
    return min(fits, resources.max_concurrent or fits)


def _study_time(method: MethodPlan, replicates: int) -> StudyTime:
    searches, finals = method.search_trials // replicates, method.final_trials // replicates
    return StudyTime(
        search_trials=searches,
        search_seconds=method.search_seconds / method.search_trials if searches else 0.0,
        final_trials=finals,
        final_seconds=method.final_seconds / method.final_trials,
    )


def plan(document: Document, facts: Facts, step_seconds: Mapping[str, float] | None, workers: int | None) -> Plan:
    """The plan.

    Args:
        document: the campaign's, resolved.
        facts: of its data.
        step_seconds: what one training step of each method takes; None where none could be measured.
        workers: trials that run at once; None with `step_seconds`.
    """
    rungs = stopping_epochs(document.search, document.training)
    methods = tuple(
        _method_plan(document, method, facts, step_seconds[method.name] if step_seconds else None)
        for method in document.methods
    )
    return Plan(document, methods, workers, rungs, tuple(_warnings(document)))


def _method_plan(document: Document, method: Method, facts: Facts, step_seconds: float | None) -> MethodPlan:
    training, search, finals = document.training, document.search, len(document.final.seeds)
    trial_epochs = expected_epochs(search, training, document.most_trials(method.name))
    search_steps, final_steps = _steps_of_an_epoch(document, facts)
    trial_seconds = None if step_seconds is None else trial_epochs * search_steps * step_seconds
    trials = search.replicates * _affordable(document, method.name, trial_epochs, trial_seconds)
    finals *= search.replicates
    return MethodPlan(
        method=method.name,
        dimensions=len(document.space(method.name)),
        search_trials=trials,
        final_trials=finals,
        most_epochs=(trials + finals) * training.epochs,
        search_epochs=trials * trial_epochs,
        final_epochs=finals * training.epochs,
        search_seconds=None if step_seconds is None else trials * trial_seconds,
        final_seconds=None if step_seconds is None else finals * training.epochs * final_steps * step_seconds,
    )


def _steps_of_an_epoch(document: Document, facts: Facts) -> tuple[float, float]:
    """Of a search trial and of a final one, the look at the validation images counted in training steps."""
    training = document.training
    evaluation = facts.validation_images / training.batch_size * EVALUATION_COST / training.evaluate_every
    searched = ceil(facts.train_images / training.batch_size) + evaluation
    if document.final.fit_on == "train":
        return searched, searched
    return searched, ceil((facts.train_images + facts.validation_images) / training.batch_size)


def _affordable(document: Document, method: str, trial_epochs: float, trial_seconds: float | None) -> int:
    """Search trials of one study, as many as its budget is expected to pay for: what runs when it is spent runs on."""
    search, resources, most = document.search, document.resources, document.most_trials(method)
    if (budget := search.budget) is None:
        return most
    worth = [budget.epochs / trial_epochs if budget.epochs else inf]
    if trial_seconds is not None:
        for hours, share in ((budget.gpu_hours, resources.gpu), (budget.cpu_hours, resources.cpu)):
            worth.append(3600 * hours / (trial_seconds * share) if hours and share else inf)
    paid = min(worth)
    return most if paid == inf else min(most, ceil(paid + (search.concurrent - 1) / 2))


def _warnings(document: Document) -> list[str]:
    search, safe = document.search, document.search.safe_grace(document.training)
    found = []
    rungs = stopping_epochs(search, document.training)
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
