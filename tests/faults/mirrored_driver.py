"""A driver without Ray: adds to a literal campaign's ledger what it lacks, then mirrors it: in one order, always.

Usage: python -m tests.faults.mirrored_driver STORAGE URI RECORDS [REQUEST COUNT]

RECORDS is how many the ledger has in the end. From there on the mirror is drained, and one line of JSON says when that
began, whether everything arrived, and what kept it. The process is killed behind the COUNT-th call of MLflow's REQUEST.
"""

import json
import os
import signal
import sys
import time
from contextlib import closing
from itertools import count
from pathlib import Path

from tests.tracking import literal
from tuner.campaign.folder import Folder
from tuner.campaign.ledger import Ledger
from tuner.tracking.mirror import Mirror


def kill_behind(request: str, number: int) -> None:
    """From now on, the process dies right behind this call, before it hears of it."""
    from mlflow import MlflowClient

    carry_out, calls = getattr(MlflowClient, request), count(1)

    def carry_out_and_die(*arguments, **named):
        answer = carry_out(*arguments, **named)
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(MlflowClient, request, carry_out_and_die)


def main(storage: str, uri: str, records: str, *kill: str) -> None:
    if kill:
        kill_behind(kill[0], int(kill[1]))
    document = literal.plan(Path(storage))
    folder = Folder(document.folder)
    mirror = Mirror(folder, uri)
    with closing(Ledger(folder.ledger)) as ledger:
        for record in literal.whole(document)[len(ledger.records) : int(records)]:
            ledger.append(record)
    mirror.start()
    began = time.time()
    print(json.dumps({"began": began, "drained": mirror.drain(), "error": mirror.error}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
