"""What the fault tests did: how many faults there were, and what the ledgers say afterwards."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from tuner.campaign.ledger import read

_FAULTS = "faults"
_LEDGER = "ledger"


class Tally:
    """Counts for one test; they travel with its report, so that those of a test that fails are left out."""

    def __init__(self, record_property: Callable[[str, object], None]):
        self._record = record_property

    def fault(self, what: str, times: int = 1) -> None:
        """So many of these happened."""
        self._record(_FAULTS, {what: times})

    def ledger(self, path: Path) -> None:
        """A campaign is complete: every trial of it has ended once, and its epochs are 1 to n, each once."""
        found = _counted([record for record, _ in read(path)])
        self._record(_LEDGER, found)
        assert (found["lost"], found["twice"]) == (0, 0), f"{path}: {found}"


def _counted(records: list[dict]) -> dict[str, int]:
    suggested, ended = (
        Counter(record["trial"] for record in records if record["kind"] == kind) for kind in ("suggested", "ended")
    )
    epochs = Counter((record["trial"], record["row"]["epoch"]) for record in records if record["kind"] == "result")
    last = {trial: max(epoch for other, epoch in epochs if other == trial) for trial, _ in epochs}
    expected = {(trial, epoch) for trial, most in last.items() for epoch in range(1, most + 1)}
    return {
        "ledgers": 1,
        "trials": len(suggested),
        "epochs": len(epochs),
        "lost": len(suggested.keys() - ended.keys()) + len(expected - epochs.keys()),
        "twice": sum(times > 1 for counts in (suggested, ended, epochs) for times in counts.values()),
    }


def summary(properties: Iterable[tuple[str, dict[str, int]]]) -> list[str]:
    """Lines for the end of a test run, from what its tests recorded; none where they recorded nothing."""
    faults, ledgers = Counter(), Counter()
    for name, counts in properties:
        if name in (_FAULTS, _LEDGER):
            (faults if name == _FAULTS else ledgers).update(counts)
    if not faults:
        return []
    kinds = ", ".join(f"{what} {times}" for what, times in sorted(faults.items()))
    lines = [f"{faults.total()} faults: {kinds}."]
    if ledgers:
        lines.append(
            f"{ledgers['ledgers']} campaigns behind them, {ledgers['trials']} trials with {ledgers['epochs']} epochs: "
            f"{ledgers['lost']} lost, {ledgers['twice']} recorded twice."
        )
    return lines
