"""A worker that nobody waits for any more ends itself, where it would hold its GPU and train on unheard."""

import os
import sys
import threading
import time
from pathlib import Path

SECONDS = 1.0
"""How often a worker looks around; the folder of its trial may lie on a network file system."""


class Watch(threading.Thread):
    """Ends this process when it is an orphan or has been replaced.

    An orphan: its raylet, which is its parent, is gone, and Ray leaves such workers alive. The raylet itself ends the
    workers of a driver that is gone. Replaced: its node was taken for dead, and another worker has claimed the next
    attempt at its trial, or has ended it already, and its folder was deleted: here it is trained in vain.
    """

    def __init__(self, raylet: int):
        super().__init__(name="watch", daemon=True)
        self._raylet = raylet
        self.next_attempt: Path | None = None
        """What another worker makes when it takes up the trial that is trained here."""
        self.training: Path | None = None
        """The folder of the attempt, while a step of it runs. Between two steps the driver may well end the trial."""

    def run(self) -> None:
        while (reason := self._superfluous()) is None:
            time.sleep(SECONDS)
        print(f"This worker ends itself: {reason}.", file=sys.stderr, flush=True)
        os._exit(1)  # from a thread, and whatever the training is in the middle of

    def _superfluous(self) -> str | None:
        if os.getppid() != self._raylet:
            return f"its raylet, process {self._raylet}, is gone"
        if (claimed := self.next_attempt) and os.path.exists(claimed):  # which gives False where the disk is away
            return f"another worker has claimed {claimed}"
        # A step that has ended in the meantime is a driver's that has heard of it, and so may have deleted the folder.
        if (training := self.training) and _deleted(training) and self.training is training:
            return f"{training} was deleted: another worker has ended this trial"
        return None


def _deleted(folder: Path) -> bool:
    """Whether the folder of an attempt is gone, and not the disk that it lies on."""
    try:
        os.stat(folder)
    except FileNotFoundError:
        return folder.parents[1].is_dir()  # that of all trials
    except OSError:
        pass
    return False


def start() -> Watch:
    """The watch over this process; it sleeps where Ray did not start the process."""
    raylet = os.environ.get("RAY_RAYLET_PID")
    watch = Watch(int(raylet or os.getppid()))
    if raylet:
        watch.start()
    return watch
