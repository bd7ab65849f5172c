"""How a campaign is opened for a run that writes to it."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tuner.campaign.lock import Lock
from tuner.campaign.repair import repair
from tuner.commands.screen import Tell


@Parameter(name="*")
@dataclass(frozen=True)
class Opening:
    """How a campaign is opened that another run holds, or whose ledger is damaged."""

    take_over: Annotated[bool, Parameter(negative=(), show_default=False)] = False
    """Go on with a campaign that another run holds, in its place: that one stops at its next record."""

    repair: Annotated[bool, Parameter(negative=(), show_default=False)] = False
    """Cut a damaged ledger off at its first damaged line, keep a copy, and run again what is lost."""

    @contextmanager
    def held(self, ledger: Path, tell: Tell) -> Iterator[Lock]:
        """The lock on a ledger that holds no damage any more, where its repair was asked for."""
        with closing(Lock(ledger, self.take_over, tell)) as lock:
            if self.repair:
                tell(str(repair(ledger, lock) or f"{ledger} has no damaged line: nothing to repair."))
            yield lock
