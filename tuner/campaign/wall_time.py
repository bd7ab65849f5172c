"""How long a campaign lasts on so many workers, played through with trials that all last as long as expected.

Neither all the work divided by the workers nor the longest chain is the answer: a study runs few trials at once, and
its final runs wait for its search. So the agenda's order is followed: of the studies that may start another search
trial the one with the fewest comes first, and final runs fill what is idle.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StudyTime:
    """One study: how many trials it has of either kind, and the seconds that one takes a worker."""

    search_trials: int
    search_seconds: float
    final_trials: int
    final_seconds: float


@dataclass
class _Progress:
    suggested: int = 0
    searched: int = 0
    refitted: int = 0


def wall_seconds(studies: Sequence[StudyTime], concurrent: int, workers: int) -> float:
    """From the first trial's start to the last one's end.

    Args:
        studies: all that share the workers, in the document's order.
        concurrent: search trials of one study that run at once, at most.
        workers: trials that run at once, at most.
    """
    progress = [_Progress() for _ in studies]
    running: list[tuple[float, int, bool]] = []  # when it ends, of which study, whether it is a search trial
    now = 0.0
    while True:
        while len(running) < workers and (step := _next(studies, progress, concurrent)):
            index, searching = step
            study = studies[index]
            if searching:
                progress[index].suggested += 1
            else:
                progress[index].refitted += 1
            heapq.heappush(running, (now + (study.search_seconds if searching else study.final_seconds), *step))
        if not running:
            return now
        now, index, searching = heapq.heappop(running)
        progress[index].searched += searching


def _next(studies: Sequence[StudyTime], progress: Sequence[_Progress], concurrent: int) -> tuple[int, bool] | None:
    searching = [
        index
        for index, (study, at) in enumerate(zip(studies, progress, strict=True))
        if at.suggested < study.search_trials and at.suggested - at.searched < concurrent
    ]
    if searching:
        return min(searching, key=lambda index: progress[index].suggested), True
    for index, (study, at) in enumerate(zip(studies, progress, strict=True)):
        if at.searched == study.search_trials and at.refitted < study.final_trials:
            return index, False
    return None
