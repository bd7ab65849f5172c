"""What the nodes of a Ray have room for, now and while they come and go."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray import tune

from tuner.campaign.faults import DocumentError, Fault
from tuner.campaign.settings import Resources

LOOK_SECONDS = 2.0
"""How often the nodes are counted."""


def alive() -> list[dict[str, Any]]:
    """Ray's records of the nodes that are there."""
    return [node for node in ray.nodes() if node["Alive"]]


def name_of(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def capacity(resources: Resources, has: Mapping[str, float]) -> int:
    """Trials that a node with these resources holds at once. A trial never lies on two nodes, nor on two GPUs."""
    fits = [_times(has.get(kind, 0), asked) for kind, asked in asked_of(resources).items() if kind != "GPU"]
    if resources.gpu:
        fits.append(int(has.get("GPU", 0)) * _times(1, resources.gpu))
    return min(fits)


def asked_of(resources: Resources) -> dict[str, float]:
    """What a trial asks for, under Ray's names."""
    gpu = {"GPU": resources.gpu} if resources.gpu else {}
    return {"CPU": resources.cpu, **gpu, **resources.custom}


def _times(has: float, asked: float) -> int:
    # In Ray's own unit: 0.3 / 0.1 is less than 3.
    return round(has * 10_000) // max(1, round(asked * 10_000))


def room(resources: Resources) -> int:
    """Trials that fit on the nodes that are there: whole ones on each, summed."""
    return sum(capacity(resources, node["Resources"]) for node in alive())


def workers(resources: Resources, file: str) -> int:
    """Trials that run at once on the nodes that are there; raises DocumentError if none of them can hold even one."""
    count = room(resources)
    if count < 1:
        asked = asked_of(resources)
        nodes = "; ".join(f"{name_of(node)} has {_amounts(asked, node['Resources'])}" for node in alive())
        sentence = (
            f"a trial asks for {_amounts(asked, asked)}, and no node has that: {nodes}. "
            "Ask for less, or start a node that has it."
        )
        raise DocumentError([Fault(file, "resources", sentence)])
    return min(count, resources.max_concurrent or count)


def _amounts(kinds: Mapping[str, float], amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{amounts.get(kind, 0):g} {kind}" for kind in kinds)


class Room(tune.Callback):
    """How many trials may be out, followed while nodes come and go.

    A trial that is handed out too early was suggested knowing too little, so that there are never more than fit; but
    where `max_concurrent` allows more than that, one is left waiting: an autoscaler adds nodes for trials that wait.

    Args:
        resources: of the campaign.
        tell: takes a sentence for the screen, when the last node that fits is gone and when one is back.
    """

    def __init__(self, resources: Resources, tell: Callable[[str], None]):
        self._resources = resources
        self._tell = tell
        self._looked = time.monotonic()
        self._count(room(resources))

    def __call__(self) -> int:
        return self._trials

    def _count(self, fit: int) -> None:
        self._gone = fit == 0
        most = self._resources.max_concurrent
        # One at least: it is what waits for a node.
        self._trials = max(1, fit) if most is None else min(most, fit + 1)

    def on_step_begin(self, iteration: int, trials: list, **info) -> None:
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        before = self._gone
        self._count(room(self._resources))
        if self._gone and not before:
            asked = asked_of(self._resources)
            self._tell(f"No node is left that has {_amounts(asked, asked)} for a trial: waiting for one.")
        elif before and not self._gone:
            self._tell("There is a node with room for a trial again: going on.")

    def __getstate__(self):
        return {}
