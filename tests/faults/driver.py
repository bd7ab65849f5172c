"""Runs a campaign as `tune.py` does, in a process of its own, and kills itself at a chosen line of the ledger.

Usage: [JOINED_RAY=ADDRESS] python -m tests.faults.driver [CAMPAIGN [before|after WHAT COUNT]]

WHAT is a kind of line, a decision or a status, for instance suggested, stop or failed; COUNT counts such lines within
this process. Where WHAT is `line`, COUNT is the number of a line in the ledger, which may be one of several that are
written at once: the later ones are lost.
With an address it joins a Ray that runs, and starts none of its own. Without a campaign it reads one line of JSON after
the other, each a list of such arguments, runs it in a fork that finds everything imported, and prints its exit code.
"""

import json
import os
import signal
import sys
from itertools import count
from pathlib import Path

from tuner.campaign import reading
from tuner.campaign.campaign import Campaign
from tuner.campaign.ledger import Ledger, Record
from tuner.campaign.preflight import preflight
from tuner.search import driver, session


def kill_at(moment: str, what: str, number: int) -> None:
    """From now on, the process dies right before or right behind the given line."""
    append = Ledger.append
    of_this_process, in_the_ledger = count(1), None

    def is_met(record: Record) -> bool:
        met = what in (record["kind"], record.get("decision"), record.get("status"))
        return met and next(of_this_process) == number

    def append_and_die(self, *records):
        nonlocal in_the_ledger
        in_the_ledger = in_the_ledger or count(len(self.records) + 1)
        for place, record in enumerate(records, start=moment == "after"):
            if next(in_the_ledger) == number if what == "line" else is_met(record):
                append(self, *records[:place])
                os.kill(os.getpid(), signal.SIGKILL)
        append(self, *records)

    Ledger.append = append_and_die


def main(path: str, *kill: str) -> None:
    if kill:
        kill_at(kill[0], kill[1], int(kill[2]))
    checked = reading.load(Path(path))
    campaign = Campaign.open(checked, preflight(checked, path))
    with session.ray_session(os.environ.get("JOINED_RAY", "local")):
        driver.execute(campaign, path, when_probed=lambda *_: None)


def serve() -> None:
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            return main(*json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:]) if sys.argv[1:] else serve()
