"""Runs a campaign as `tune.py` does, in a process of its own, and kills itself at a chosen line of the ledger.

Usage: python -m tests.faults.driver CAMPAIGN [before|after KIND COUNT]

KIND is suggested, stop (a result with that decision) or ended; COUNT counts such lines within this process.
"""

import os
import signal
import sys
from pathlib import Path

from tuner.campaign import reading
from tuner.campaign.campaign import Campaign
from tuner.campaign.ledger import Ledger
from tuner.campaign.preflight import preflight
from tuner.search import driver


def kill_at(moment: str, kind: str, count: int) -> None:
    """From now on, the process dies right before or right behind the given line."""
    append = Ledger.append
    met = 0

    def append_and_die(self, *records):
        nonlocal met
        met += any(kind in (record["kind"], record.get("decision")) for record in records)
        if moment == "after" or met < count:
            append(self, *records)
        if met >= count:
            os.kill(os.getpid(), signal.SIGKILL)

    Ledger.append = append_and_die


def main(path: str, *kill: str) -> None:
    if kill:
        kill_at(kill[0], kill[1], int(kill[2]))
    checked = reading.load(Path(path))
    campaign = Campaign.open(checked, preflight(checked, path))
    with driver.ray_session():
        driver.execute(campaign, path, when_probed=lambda *_: None)


if __name__ == "__main__":
    main(*sys.argv[1:])
