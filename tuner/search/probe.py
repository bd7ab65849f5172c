"""A few batches of every method on a worker, before the first trial: what is broken or too large fails in seconds."""

import time
import traceback
from itertools import pairwise

import ray

from tuner.campaign.document import Document
from tuner.campaign.faults import DocumentError, Fault
from tuner.campaign.run import Run
from tuner.search.trainable import device

STEPS = 4
"""The first one warms up; the fastest of the others is the price of a step."""


def probe(document: Document, resources: dict[str, float], file: str) -> dict[str, float]:
    """Seconds that one training step of each method takes, measured on one worker with a trial's resources.

    Raises:
        DocumentError: with every method that failed, and how.
    """
    measured = ray.get(ray.remote(_measure_all).options(**resources).remote(_runs(document)))
    failed = {name: outcome for name, outcome in measured.items() if isinstance(outcome, str)}
    if failed:
        names = [method.name for method in document.methods]
        raise DocumentError(
            Fault(file, f"methods[{names.index(name)}]", f'"{name}" failed on its first batches:\n{outcome}')
            for name, outcome in failed.items()
        )
    return measured


def _runs(document: Document) -> dict[str, Run]:
    return {
        method.name: Run(
            dataset=document.dataset,
            split=document.split,
            model=document.model,
            method=method.name,
            hyperparameters=method.fixed,
            training=document.training,
            seed=0,
        )
        for method in document.methods
    }


def _measure_all(runs: dict[str, Run]) -> dict[str, float | str]:
    return {name: _measure(run) for name, run in runs.items()}


def _measure(run: Run) -> float | str:
    """Seconds a step, or the traceback. The loop itself is asked: it polls between batches, which is where to look."""
    ticks: list[float] = []

    def enough() -> bool:
        ticks.append(time.perf_counter())
        return len(ticks) > STEPS

    try:
        for _ in run.rows(device(), should_stop=enough):
            pass
    except Exception:
        return traceback.format_exc()
    steps = [after - before for before, after in pairwise(ticks[1:])]
    return min(steps, default=0.0)
