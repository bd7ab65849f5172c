"""Tunes regularizers as a campaign document says. `tune.py --help` lists the commands."""

import shlex
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console

from tuner.campaign import reading
from tuner.campaign.agenda import next_step
from tuner.campaign.campaign import Campaign
from tuner.campaign.document import Document
from tuner.campaign.faults import DocumentError
from tuner.campaign.fold import Trial
from tuner.campaign.folder import Folder
from tuner.campaign.ledger import LedgerError
from tuner.campaign.lock import AppendError, Lock
from tuner.campaign.plan import plan
from tuner.campaign.preflight import preflight
from tuner.campaign.repair import repair
from tuner.campaign.storage import check_storage

DEFAULT = Path(__file__).parent / "campaigns" / "digits.yaml"

app = App(name="tune.py", help="Tune regularizers under one budget, rerun the winners, and say honestly who won.")


@Parameter(name="*")
@dataclass(frozen=True)
class Opening:
    """How a campaign is opened that another run holds, or whose ledger is damaged."""

    take_over: Annotated[bool, Parameter(negative=(), show_default=False)] = False
    """Go on with a campaign that another run holds, in its place: that one stops at its next record."""

    repair: Annotated[bool, Parameter(negative=(), show_default=False)] = False
    """Cut a damaged ledger off at its first damaged line, keep a copy, and run again what is lost."""


Address = Annotated[str | None, Parameter(env_var="RAY_ADDRESS", show_default=False)]


@app.default
@app.command
def run(campaign: Path = DEFAULT, *, address: Address = None, opening: Opening | None = None) -> int:
    """Run a campaign; if it was begun before, go on with it.

    Parameters
    ----------
    campaign
        The campaign document, a YAML file.
    address
        The Ray cluster to join: auto, or HOST:PORT of its head. Without one, a Ray of this run's own is started.
    """
    return _run(reading.load(campaign), str(campaign), address, opening or Opening())


@app.command
def rerun(
    config: Path,
    *,
    seeds: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    address: Address = None,
    opening: Opening | None = None,
) -> int:
    """Train an exported configuration again.

    Parameters
    ----------
    config
        A file that `report.py export` or a campaign wrote.
    seeds
        Train with the seeds 0, 1, ... up to this many; those of the file if not given.
    address
        The Ray cluster to join, as for run.
    """
    return _run(reading.load(config).with_seeds(seeds), str(config), address, opening or Opening())


@app.command(name="list")
def list_(what: Literal["methods", "models", "datasets", "campaigns"]) -> None:
    """Show what there is to choose from.

    Parameters
    ----------
    what
        Which list: with papers, settings, defaults, and what is legal and searched.
    """
    from tuner.reporting.catalogue import LISTS

    console = Console()
    for entry in LISTS[what]():
        console.print(entry)


def _run(document: Document, file: str, address: str | None, opening: Opening) -> int:
    console = Console()
    address = None if address in (None, "", "local") else address
    facts = preflight(document, file)
    check_storage(document, facts, file, shared=address is not None)
    ledger = Folder(document.folder).ledger
    with closing(Lock(ledger, opening.take_over, lambda sentence: _tell(console, sentence))) as lock:
        if opening.repair:
            _tell(console, str(repair(ledger, lock) or f"{ledger} has no damaged line: nothing to repair."))
        campaign = Campaign.open(document, facts, lock)
        if torn := campaign.ledger.repaired_bytes:
            _tell(console, f"The ledger ended in {torn} bytes of an unfinished line, which were cut off.")
        try:
            return _carry_out(campaign, file, console, address)
        except Exception:
            if failure := campaign.ledger.failure:  # Ray hands on no more than its text
                raise failure from None
            raise
        finally:
            campaign.close()


def _tell(console: Console, sentence: str) -> None:
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _carry_out(campaign: Campaign, file: str, console: Console, address: str | None) -> int:
    # Imported here, so that a wrong document is refused at once.
    from tuner.reporting.show import show
    from tuner.tracking.address import server_of, shown_uri, sync_command, tracking_uri, ui_command
    from tuner.tracking.mirror import Mirror

    uri = tracking_uri(campaign.document, campaign.folder)
    mirror = Mirror(campaign.folder, uri)
    complete = next_step(campaign.state, set()) == "done"
    interrupted = None if complete else _train(campaign, mirror, file, console, address)
    try:
        show(campaign.folder, console)
    except OSError as error:  # no room: what it would show is in the ledger
        _tell(console, f"The report cannot be written: {error}. Later: uv run report.py {campaign.document.name}")
    mirror.start()
    if mirror.drain():
        _tell(console, f"MLflow   {ui_command(uri)}\n         {server_of(uri)}{mirror.page}")
    else:
        _tell(
            console,
            f"MLflow   {shown_uri(uri)} does not have all of it yet: {mirror.error}\n"
            f"         The ledger does. Later: {sync_command(campaign.document, campaign.folder, uri)}",
        )
    if interrupted:
        console.print(f"Interrupted; all is recorded. Go on with: uv run {shlex.join(sys.argv)}", soft_wrap=True)
        return 128 + interrupted
    if campaign.obstacle:
        _tell(console, f"Stopped: {campaign.obstacle}\nAll is recorded. Once that is mended, the same command goes on.")
        return 1
    return 1 if any(map(_went_wrong, campaign.state.trials.values())) or _without_choice(campaign) else 0


def _went_wrong(trial: Trial) -> bool:
    """A search may well try a learning rate that diverges; what it chose must not."""
    return trial.status == "failed" or (trial.status == "diverged" and trial.kind == "final")


def _without_choice(campaign: Campaign) -> bool:
    """Whether some search has no trial that went through, so that nothing could be refitted."""
    state, searched = campaign.state, campaign.document.search.trials
    return bool(searched) and any(state.best(method.name) is None for method in campaign.document.methods)


def _train(campaign: Campaign, mirror, file: str, console: Console, address: str | None) -> int | None:
    """Trains all that is left; the number of the signal that stopped it, if one did."""
    from tuner.reporting.plan_table import print_plan
    from tuner.reporting.progress import Progress
    from tuner.search import driver
    from tuner.search.session import OWN
    from tuner.search.shared_storage import check_nodes

    document = campaign.document
    progress = Progress(campaign.state, console)

    def begin(step_seconds: dict[str, float], workers: int) -> None:
        print_plan(plan(document, campaign.facts, step_seconds, workers), document, console)
        mirror.start()
        showing.enter_context(progress)

    with driver.ray_session(address or OWN), ExitStack() as showing:
        if address:
            check_nodes(document, campaign.facts, file)
        campaign.listen(progress.listener)
        campaign.listen(lambda record: [_tell(console, note) for note in record.get("notes", ())])
        try:
            driver.execute(campaign, file, begin, tell=lambda sentence: _tell(console, sentence))
        except driver.Interrupted as stopped:
            return stopped.signal
    return None


def main() -> None:
    try:
        sys.exit(app())
    except (DocumentError, LedgerError) as refusal:
        Console(stderr=True).print(str(refusal), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1 if isinstance(refusal, AppendError) else 2)


if __name__ == "__main__":
    main()
