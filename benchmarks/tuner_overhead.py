"""What a trial costs beyond its own work: here, in Ray Tune as it comes, and in Optuna alone.

Usage: uv run python -m benchmarks.tuner_overhead

Every trial reports a few epochs that take no time, so that whatever passes is overhead. Two trials run at once, in turn
on one Ray, and the better of two rounds counts. Ray Tune runs a function with its defaults: a new actor a trial, which
here need not even import PyTorch, and its own loggers. Optuna runs in one process, where nothing survives its end.
"""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

# Before ray, of which it sets what is read at import.
import tuner.search  # noqa: F401, isort: skip

import optuna
from ray import tune
from rich.console import Console
from rich.table import Table

from benchmarks import simulated
from tuner.campaign.campaign import Campaign
from tuner.campaign.ledger import Record

EPOCHS, AT_ONCE, ROUNDS = 4, 2, 2
OUR_TRIALS, RAY_TRIALS, OPTUNA_TRIALS = 200, 10, 200


@dataclass(frozen=True)
class Cost:
    """Seconds: until the first trial runs, and of each trial from then to the last one's end."""

    once: float
    trial: float


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, simulated.ray_session(folder, AT_ONCE):
        rounds = [measure() for _ in range(ROUNDS)]
    costs = {name: min((each[name] for each in rounds), key=lambda cost: cost.trial) for name in rounds[0]}
    ours = costs["this platform"]
    table = Table(title=f"A trial of {EPOCHS} empty epochs, {AT_ONCE} at once", title_justify="left")
    for heading in ("what", "trials", "once, s", "a trial, s", "times ours"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    trials = (OUR_TRIALS, RAY_TRIALS, OPTUNA_TRIALS)
    for (name, cost), count in zip(costs.items(), trials, strict=True):
        table.add_row(name, str(count), f"{cost.once:.1f}", f"{cost.trial:.4f}", f"{cost.trial / ours.trial:.3g}")
    Console().print(table)


def measure() -> dict[str, Cost]:
    with tempfile.TemporaryDirectory() as storage, patch.dict(os.environ):
        return {
            "this platform": this_platform(Path(storage)),
            "Ray Tune's defaults": ray_tune(storage),
            "Optuna in one process": optuna_alone(),
        }


def this_platform(storage: Path) -> Cost:
    """A campaign of one study: TPE, ASHA, every line of the ledger forced to the disk, actors used again."""
    document = simulated.document(storage, "overhead", ["none"], EPOCHS, AT_ONCE, {"trials": OUR_TRIALS})
    trials: list[Record] = []
    began = time.time()
    with patch.dict(os.environ):  # a campaign sets how Ray Tune runs, which is not to last
        campaign = Campaign.open(document, simulated.FACTS)
        campaign.listen(lambda record: trials.append(record) if record["kind"] in ("suggested", "ended") else None)
        simulated.run(campaign)
        campaign.close()
    first, last = trials[0]["time"], trials[-1]["time"]
    return Cost(first - began, (last - first) / len(campaign.state.trials))


def ray_tune(storage: str) -> Cost:
    clock = Clock()
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the new reporter prints even when it is told to be silent
    began = time.time()
    tune.Tuner(
        empty,
        param_space={"lr": tune.loguniform(0.01, 0.3)},
        tune_config=tune.TuneConfig(num_samples=RAY_TRIALS),
        run_config=tune.RunConfig(storage_path=storage, verbose=0, callbacks=[clock]),
    ).fit()
    return Cost(clock.first - began, (clock.last - clock.first) / RAY_TRIALS)


class Clock(tune.Callback):
    """When the first trial was started and the last one was over."""

    first = last = 0.0

    def on_trial_start(self, iteration, trials, trial, **info) -> None:
        self.first = self.first or time.time()

    def on_trial_complete(self, iteration, trials, trial, **info) -> None:
        self.last = time.time()


def empty(config: dict) -> None:
    for epoch in range(1, EPOCHS + 1):
        tune.report({"epoch": epoch, "val_error": config["lr"] / epoch})


def optuna_alone() -> Cost:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    began = time.time()
    study = optuna.create_study()
    first = time.time()

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 0.01, 0.3, log=True)
        for epoch in range(1, EPOCHS + 1):
            trial.report(lr / epoch, epoch)
        return lr

    study.optimize(objective, OPTUNA_TRIALS)
    return Cost(first - began, (time.time() - first) / OPTUNA_TRIALS)


if __name__ == "__main__":
    main()
