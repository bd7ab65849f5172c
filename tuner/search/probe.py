"""A few batches of every method before the first trial: what is broken, or does not fit, fails in seconds.

The probes run as Ray trials of the workers that train afterwards: they cost no process of their own, and when the first
trial comes, the workers are warm. One that is through with its share waits for the others, since of the workers that
have no trial Ray keeps only one.
"""

import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from statistics import fmean

import torch

from tuner.campaign.document import Document, Method
from tuner.campaign.faults import DocumentError, Fault
from tuner.campaign.run import Run
from tuner.search.failure import failure_of

WARM_UP, FEWEST_STEPS, SECONDS = 2, 4, 0.5
"""Each method takes so many steps that do not count, then so many at least, and goes on for so long."""

WAIT_SECONDS = 0.1
"""How long a worker that is through with its share waits before it asks again whether the others are."""


class Probe:
    """Which methods still have to be tried, and what came of the others.

    Args:
        document: the campaign's.
        workers: over how many trials to spread the methods.
        when_done: called with the seconds of a step of each method, once all of them ran.
    """

    def __init__(self, document: Document, workers: int, when_done: Callable[[dict[str, float]], None]):
        self._document = document
        shares = [document.methods[i::workers] for i in range(workers)]
        self._shares = [{method.name: self._run(method) for method in share} for share in shares if share]
        self._when_done = when_done
        self._outcomes: dict[str, float | str] = {}  # seconds of a step, or what it died of

    @property
    def done(self) -> bool:
        return len(self._outcomes) == len(self._document.methods)

    @property
    def failed(self) -> bool:
        return bool(self._failures())

    @property
    def handed_out(self) -> bool:
        """Whether some worker has got every share, or is about to."""
        return not self._shares

    def next_share(self) -> dict[str, Run] | None:
        """The runs that one worker is to try, or None when all are handed out."""
        return self._shares.pop() if self._shares else None

    def put_back(self, share: dict[str, Run]) -> None:
        """A worker died over its share; another one is to try what it has not told of."""
        if untried := {name: run for name, run in share.items() if name not in self._outcomes}:
            self._shares.append(untried)

    def record(self, outcomes: Mapping[str, float | str]) -> None:
        """Takes what `measure` gave for one share; of a method that was tried twice, the first outcome counts."""
        already = self.done
        self._outcomes = {**outcomes, **self._outcomes}
        if self.done and not already and not self.failed:
            self._when_done(self._outcomes)

    def lost(self, runs: Mapping[str, object]) -> None:
        """One worker after the other died over its share."""
        self.record(dict.fromkeys(runs, "The worker process died. Did it run out of memory? Try a smaller batch_size."))

    def refuse_failures(self, file: str) -> None:
        """Raises DocumentError with every method that failed, and how."""
        names = [method.name for method in self._document.methods]
        if self.failed:
            raise DocumentError(
                Fault(file, f"methods[{names.index(name)}]", f'"{name}" failed on its first batches:\n{failure}')
                for name, failure in self._failures().items()
            )

    def _failures(self) -> dict[str, str]:
        return {name: outcome for name, outcome in self._outcomes.items() if isinstance(outcome, str)}

    def _run(self, method: Method) -> Run:
        document = self._document
        return Run(
            dataset=document.dataset,
            split=document.split,
            model=document.model,
            method=method.name,
            hyperparameters=method.fixed,
            training=document.training,
            seed=0,
        )


def measure(runs: Mapping[str, Run], device: str) -> dict[str, float | str]:
    """Seconds of a training step of each run, or the traceback of what it died of."""
    return {name: _measure(run, device) for name, run in runs.items()}


def _measure(run: Run, device: str) -> float | str:
    """The loop itself is asked: it polls between two batches, which is where to look at the clock.

    The mean and not the best counts: of many methods only some batches are dear. A span that holds the end of an epoch
    is left out, where there are others: it has a look at the validation images in it.
    """
    ticks: list[float] = []
    ends: set[int] = set()

    def enough() -> bool:
        if device == "cuda":
            torch.cuda.synchronize()  # else the clock shows when the work was handed over
        ticks.append(time.perf_counter())
        return len(ticks) > WARM_UP + FEWEST_STEPS and ticks[-1] - ticks[WARM_UP] > SECONDS

    try:
        for _ in run.rows(device, should_stop=enough):
            ends.add(len(ticks))
    except Exception as error:
        return failure_of(error, run.training.batch_size)["traceback"]
    spans = {number: after - before for number, (before, after) in enumerate(pairwise(ticks), start=1)}
    warm = {number: span for number, span in spans.items() if number > WARM_UP} or spans
    inside = [span for number, span in warm.items() if number not in ends]
    return fmean(inside or warm.values()) if warm else 0.0
