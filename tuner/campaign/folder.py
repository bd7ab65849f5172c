"""Where everything of one campaign lives."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folder:
    """`<storage>/<name>/`."""

    root: Path

    @property
    def ledger(self) -> Path:
        """The truth."""
        return self.root / "ledger.jsonl"

    @property
    def document(self) -> Path:
        """The resolved campaign document, for people; the ledger holds it too."""
        return self.root / "campaign.yaml"

    @property
    def trials(self) -> Path:
        return self.root / "trials"

    def trial(self, trial: str) -> Path:
        """Checkpoints of a trial, one folder an attempt."""
        return self.trials / trial

    @property
    def best(self) -> Path:
        """Exported best configurations, one a method."""
        return self.root / "best"

    @property
    def report(self) -> Path:
        return self.root / "report"

    @property
    def stop_file(self) -> Path:
        """While it exists, running trials save their position and return at their next batch."""
        return self.root / "stop"


def names_an_entry(name: object) -> bool:
    """Whether a folder can hold something of this name: no path that leads out of the folder, or deeper into it."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0")


def last_campaign(storage: Path) -> Folder | None:
    """The campaign whose ledger was written last."""
    ledgers = sorted(storage.glob("*/ledger.jsonl"), key=lambda path: path.stat().st_mtime)
    return Folder(ledgers[-1].parent) if ledgers else None
