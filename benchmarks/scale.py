"""A campaign of ten thousand simulated trials: what the driver sustains, and whether it tires.

Usage: uv run python -m benchmarks.scale [--trials 1000] [--studies 10] [--epochs 20] [--actors 8]

Each study has `trials` search trials under ASHA; the last one is searched by TPE, the others at random. Nothing trains,
so that the driver is the only thing that can be slow: Ray's events, the ledger with every line forced to the disk, the
decisions and the suggestions, with MLflow's mirror (SQLite) beside them. A result is one row of the ledger.
"""

import os
import resource
import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from cyclopts import App
from rich.console import Console
from rich.table import Table

from benchmarks import simulated
from tuner.campaign.agenda import next_step
from tuner.campaign.campaign import Campaign
from tuner.campaign.document import Document
from tuner.campaign.folder import Folder
from tuner.campaign.ledger import Record
from tuner.commands.garbage import collect_rarely
from tuner.reporting.show import show
from tuner.tracking.address import tracking_uri
from tuner.tracking.mirror import Mirror

METHODS = [
    "none",
    "mixup",
    "cutmix",
    "manifold_mixup",
    "cutout",
    "dropout",
    "fmix",
    "resizemix",
    "region_mixup",
    "patchup_hard",
]

app = App(help=__doc__, result_action="return_value")


@dataclass
class Clock:
    """When each search result was recorded, by the wall's clock and by the CPU time of the driver's own thread."""

    results: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    finals: set[str] = field(default_factory=set)
    last: float = 0.0

    def listen(self, record: Record) -> None:
        self.last = record["time"]
        if record["kind"] == "suggested" and record["trial_kind"] == "final":
            self.finals.add(record["trial"])
        elif record["kind"] == "result" and record["trial"] not in self.finals:
            self.results.append(record["time"])
            self.cpu.append(time.thread_time())

    def tenths(self) -> list[float]:
        """Results a second in each tenth of the time from the first to the last."""
        first, last = self.results[0], self.results[-1]
        counts = [0] * 10
        for moment in self.results:
            counts[min(9, int(10 * (moment - first) / (last - first)))] += 1
        return [10 * count / (last - first) for count in counts]

    def cpu_tenths(self) -> list[float]:
        """Milliseconds of the driver's thread for a result, in each tenth of all results: other load is not in it."""
        ends = [round(tenth * (len(self.cpu) - 1) / 10) for tenth in range(11)]
        return [1000 * (self.cpu[end] - self.cpu[begin]) / (end - begin) for begin, end in pairwise(ends)]


@dataclass(frozen=True)
class Measured:
    """What one run of the benchmark found; times in seconds, memory in MiB."""

    trials: int
    results: int
    seconds: float
    tenths: list[float]
    cpu_tenths: list[float]
    ending: float  # from the last trial's end to the end of Ray's run
    driver_cpu: float
    driver_memory: float
    mirrored: int  # trials that MLflow showed as ended when the last one had
    resume: float
    report: float

    @property
    def rate(self) -> float:
        return self.results / self.seconds

    @property
    def last_to_first(self) -> float:
        return self.tenths[-1] / self.tenths[0]


@app.default
def main(*, trials: int = 1000, studies: int = 10, epochs: int = 20, actors: int = 8) -> None:
    """Runs the benchmark and prints its table."""
    # Ray's socket paths must stay short.
    with tempfile.TemporaryDirectory() as storage, tempfile.TemporaryDirectory(prefix="ray-") as ray_folder:
        found = measure(Path(storage), ray_folder, trials, studies, epochs, actors)
    table = Table(title=f"{found.trials:,} trials of at most {epochs} epochs, {actors} at once", title_justify="left")
    for heading, justify in (("what", "left"), ("measured", "right"), ("target", "right")):
        table.add_column(heading, justify=justify)
    for row in (
        ("results of search trials", f"{found.results:,}", ""),
        ("wall time from the first to the last of them", f"{found.seconds:,.0f} s", ""),
        ("results a second", f"{found.rate:.0f}", "100, aim 250"),
        ("in each tenth of that time", " ".join(f"{rate:.0f}" for rate in found.tenths), ""),
        ("last tenth over first", f"{found.last_to_first:.2f}", "0.8"),
        (
            "CPU ms of the driver's thread a result, by tenths of them",
            " ".join(f"{cost:.1f}" for cost in found.cpu_tenths),
            "",
        ),
        ("end of Ray's run behind the last trial's", f"{found.ending:.0f} s", ""),
        ("CPU time of the driver, mirror included", f"{found.driver_cpu:,.0f} s", ""),
        ("memory of the driver at most", f"{found.driver_memory:,.0f} MiB", "2,048 MiB"),
        ("trials complete in MLflow by then", f"{found.mirrored:,}", ""),
        # The mirror goes on beside these two.
        ("resume: open the ledger, find what is next", f"{found.resume:.1f} s", "15 s"),
        ("report: figures, tables, page, best configurations", f"{found.report:.1f} s", "60 s"),
    ):
        table.add_row(*row)
    Console(width=120).print(table)


def measure(storage: Path, ray_folder: str, trials: int, studies: int, epochs: int, actors: int) -> Measured:
    """Runs the campaign under `storage`, on a Ray of its own."""
    document = simulated.document(
        storage, "scale", list(METHODS[:studies]), epochs, actors, {"trials": trials, "sampler": "random"}
    )
    clock = Clock()
    with simulated.ray_session(ray_folder, actors):
        campaign = Campaign.open(document, simulated.FACTS)
        campaign.listen(clock.listen)
        mirror = Mirror(campaign.folder, tracking_uri(document, campaign.folder))
        began = time.process_time()
        simulated.run(campaign, mirror.start, tpe=METHODS[studies - 1])
        cpu, ending, memory = time.process_time() - began, time.time() - clock.last, _peak_memory()
        campaign.close()
    found = Measured(
        trials=len(campaign.state.trials),
        results=len(clock.results),
        seconds=clock.results[-1] - clock.results[0],
        tenths=clock.tenths(),
        cpu_tenths=clock.cpu_tenths(),
        ending=ending,
        driver_cpu=cpu,
        driver_memory=memory,
        mirrored=_ended_in_mlflow(storage),
        resume=_seconds(lambda: _resume(document)),
        report=_seconds(lambda: _report(campaign.folder)),
    )
    mirror.drain(0)
    return found


def _ended_in_mlflow(storage: Path) -> int:
    ended = "SELECT count(*) FROM runs WHERE status NOT IN ('RUNNING', 'SCHEDULED')"
    with closing(sqlite3.connect(storage / "mlflow.db")) as database:
        return database.execute(ended).fetchone()[0]


def _resume(document: Document) -> None:
    campaign = Campaign.open(document, simulated.FACTS)
    next_step(campaign.state, set())
    campaign.close()


def _report(folder: Folder) -> None:
    with open(os.devnull, "w") as nowhere:
        show(folder, Console(file=nowhere))


def _seconds(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux


if __name__ == "__main__":
    collect_rarely()  # as the driver of `tune.py` does
    app()
