"""What can be kept of a damaged ledger: the lines before the damage. Those behind it build on a fact that is lost."""

import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuner.campaign.ledger import DamagedLine, decode, read
from tuner.campaign.lock import LedgerError, Lock


@dataclass(frozen=True)
class Repair:
    """What a repair did: `kept` lines are left, `lost` are gone. `trials` are those that the lost lines tell of, as far
    as these can be read."""

    ledger: Path
    backup: Path
    kept: int
    lost: int
    trials: tuple[str, ...]

    def __str__(self) -> str:
        left = f"{self.kept} lines are left" if self.kept else "nothing is left, the campaign begins anew"
        known = f" (as far as they can be read, of {', '.join(self.trials)})" if self.trials else ""
        return (
            f"{self.ledger} was damaged in line {self.kept + 1} and is cut off before it: {left}, {self.lost} are "
            f"lost. What they told of {len(self.trials)} trials{known} is run again. A copy of the whole: {self.backup}"
        )


def repair(ledger: Path, lock: Lock) -> Repair | None:
    """Cuts the ledger off at its first damaged line, and keeps a copy of it as it was; None where no line is damaged.

    Raises:
        LedgerError: the copy cannot be written, and nothing was changed; or the lock is lost.
    """
    with lock.held():
        try:
            for _ in read(ledger):
                pass
        except DamagedLine as damage:
            return _cut(ledger, damage)
    return None


def _cut(ledger: Path, damage: DamagedLine) -> Repair:
    lost = ledger.read_bytes()[damage.offset :].splitlines()
    trials = dict.fromkeys(record["trial"] for record in map(decode, lost) if record and "trial" in record)
    backup = _copy(ledger)
    with ledger.open("ab") as file:
        file.truncate(damage.offset)
        os.fsync(file.fileno())
    return Repair(ledger, backup, damage.number - 1, len(lost), tuple(trials))


def _copy(ledger: Path) -> Path:
    backup = ledger.with_name(f"{ledger.name}.damaged-{datetime.now():%Y%m%dT%H%M%S.%f}")
    try:
        with ledger.open("rb") as damaged, backup.open("xb") as copy:
            shutil.copyfileobj(damaged, copy)
            copy.flush()
            os.fsync(copy.fileno())
    except OSError as error:
        sentence = f"{backup} cannot be written: {error.strerror}. A repair keeps a copy first; nothing was changed."
        raise LedgerError(sentence) from None
    return backup
