"""A campaign's ledger, followed while it grows: a reader needs no lock, and sees whole lines only."""

from tuner.campaign import ledger
from tuner.campaign.fold import BEGINNINGS, State
from tuner.campaign.folder import Folder
from tuner.campaign.ledger import LedgerError


class Following:
    """The state that a ledger tells, brought up to its end by each `catch_up`."""

    def __init__(self, folder: Folder):
        self.folder = folder
        self._begin()

    def _begin(self) -> None:
        self.state = State()
        self.driven_from = 0.0
        """When its last driver took the campaign up."""
        self.last = 0.0
        """When the last line was written."""
        self._offset = 0

    def catch_up(self) -> None:
        """Folds in what was written since.

        Raises:
            LedgerError: the file is gone or damaged, holds nothing yet, or is of a version that cannot be read.
        """
        path = self.folder.ledger
        try:
            if path.stat().st_size < self._offset:  # it was cut off behind a damaged line, or begun anew
                self._begin()
            for record, offset in ledger.read(path, self._offset):
                self._offset = offset
                self.state.apply(record)
                self.last = record["time"]
                if record["kind"] in BEGINNINGS:
                    self.driven_from = record["time"]
        except OSError as error:
            raise LedgerError(f"{path} cannot be read: {error.strerror}.") from None
        if self.state.document is None:
            raise LedgerError(f"{path} holds no record yet: the campaign was not started.")
