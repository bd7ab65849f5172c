"""Methods that go wrong at a chosen point of a trial, and hooks that only they set.

Their point lies outside a probe's reach: the probe trains with the default of `at`, which is never met, and a trial
with one from the searched space.
"""

import os
import signal
import time
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, final

import torch
from pydantic import Field

from tuner.regularizers.base import Regularizer
from tuner.training.checkpoint import Checkpoints

NEVER = 2.0

SPACE = {"at": {"low": 0.4, "high": 0.6}}
"""With eight steps, the fourth or the fifth."""


class Faulty(Regularizer):
    """Trains as no regularizer does, up to the first step with a progress of at least `at`."""

    name: ClassVar[str] = "faulty"
    paper: ClassVar[None] = None

    at: float = Field(NEVER, ge=0, description="share of the training behind which it goes wrong")
    folder: str = Field("", description="where it leaves its marks")

    def training_loss(self, net, images, targets, step):
        loss = step.criterion(net(images), targets)
        return self.go_wrong(loss, step.progress) if step.progress >= self.at else loss

    @abstractmethod
    def go_wrong(self, loss, progress):
        """The loss, if it comes to that."""

    def is_first(self, mark: str) -> bool:
        """Whether no attempt has left this mark yet, a file with the numbers of the process and of its raylet."""
        try:
            with (Path(self.folder) / mark).open("x") as file:
                file.write(f"{os.getpid()} {os.getppid()}")
            return True
        except FileExistsError:
            return False


@final
class Raising(Faulty):
    """Raises; a line of the message is no valid Unicode, as a file's name may be."""

    def go_wrong(self, loss, progress):
        raise LookupError("there is no such mixing\nin \udcff.png")


@final
class OutOfMemory(Faulty):
    """Asks for more GPU memory than there is."""

    def go_wrong(self, loss, progress):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


@final
class NotFinite(Faulty):
    """Has a loss that is no number."""

    factor: str = Field("nan", description="what the loss is multiplied by")

    def go_wrong(self, loss, progress):
        return loss * float(self.factor)


@final
class Deadly(Faulty):
    """Kills its process, at every attempt, and counts."""

    def go_wrong(self, loss, progress):
        with (Path(self.folder) / "deaths").open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)


@final
class DeadlyToTheNext(Faulty):
    """Completes its trial, and kills its process once the next one is handed to it."""

    def go_wrong(self, loss, progress):
        if self.is_first("died"):
            Checkpoints.__init__ = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        return loss


class Logged(Faulty):
    """Writes down every step that a trial begins, and has it saved before each."""

    def training_loss(self, net, images, targets, step):
        if self.at != NEVER:
            Checkpoints.due = lambda checkpoints: True
            with (Path(self.folder) / "steps").open("a") as file:
                file.write(f"{os.getpid()} {step.progress}\n")
        return super().training_loss(net, images, targets, step)


@final
class DeadlyOnce(Logged):
    """Kills its process at its first attempt."""

    def go_wrong(self, loss, progress):
        if self.is_first("died"):
            os.kill(os.getpid(), signal.SIGKILL)
        return loss


@final
class Holding(Logged):
    """Holds its first attempt for good, so that its node can be killed, or its process left an orphan."""

    def go_wrong(self, loss, progress):
        if self.is_first("held"):
            while True:
                time.sleep(3600)
        return loss
