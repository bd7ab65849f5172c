"""A method with one slow batch, for signals to meet."""

import time
from typing import final

from pydantic import Field

from tests.faults.faulty import Faulty


@final
class Slow(Faulty):
    """Sleeps through one batch of the campaign."""

    seconds: float = Field(0.0, ge=0, description="how long")

    def go_wrong(self, loss, progress):
        if self.is_first("slow"):
            time.sleep(self.seconds)
        return loss
