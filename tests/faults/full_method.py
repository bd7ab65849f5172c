"""A regularizer that fills the disk which its campaign lies on, once."""

import shutil
from pathlib import Path
from typing import final

from tests.faults.faulty import Logged

ROOM_LEFT = 40_000
"""Bytes: enough for a line of the ledger, too few for a checkpoint."""


@final
class Filling(Logged):
    """Trains as usual, and leaves no room for a checkpoint."""

    def go_wrong(self, loss, progress):
        if self.is_first("full"):
            runs = Path(self.folder) / "runs"
            with (runs / "filler").open("wb") as file:
                file.write(bytes(shutil.disk_usage(runs).free - ROOM_LEFT))
        return loss
