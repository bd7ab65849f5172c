"""`tune.py` as it is typed, but for Ray: a formula trains, in this very process.

Usage: python -m tests.faults.bare_driver HOLD ARGUMENTS...

HOLD is `never`, or for instance `ended:3`: before the third such line the process prints "holding" and waits for a line
on its standard input. ARGUMENTS are those of `tune.py`.
"""

import sys

import tune
from tuner.campaign.agenda import Ask, Refit, Resume, next_step
from tuner.campaign.campaign import Campaign, Report
from tuner.campaign.ledger import Ledger
from tuner.commands import run


def hold_before(kind: str, count: int) -> None:
    """Before the given line, says so and waits to be told to go on."""
    append = Ledger.append
    met = 0

    def append_when_told(self, *records):
        nonlocal met
        met += any(record["kind"] == kind for record in records)
        if met == count:
            met += 1
            print("holding", flush=True)
            sys.stdin.readline()
        append(self, *records)

    Ledger.append = append_when_told


def carry_out(campaign: Campaign, *_: object) -> int:
    """Runs the campaign to its end: every row is a function of the trial's hyper-parameters, its seed and the epoch."""
    while (step := next_step(campaign.state, set())) != "done":
        match step:
            case Resume(trial):
                pass
            case Ask(study, number):
                setting = campaign.document.paper_setting(study.method)
                trial = campaign.suggest_search(study, number, {**setting, "lr": 0.1 / (number + 1)}, {})
            case Refit(study, best, seed):
                trial = campaign.suggest_final(study, best, seed)
        attempt = trial.attempt + 1
        for epoch in range(1, campaign.document.training.epochs + 1):
            error = round(trial.params["lr"] + (trial.seed % 7) / 100 + 1 / epoch, 4)
            row = {"epoch": epoch, "train_loss": error, "val_error": error, "val_nll": 2 * error, "seconds": 0.1}
            if not campaign.receive(Report(trial.id, attempt, [row])):
                break
    return 0


if __name__ == "__main__":
    hold = sys.argv.pop(1)
    if hold != "never":
        kind, count = hold.split(":")
        hold_before(kind, int(count))
    run.carry_out = carry_out
    tune.main()
