"""A campaign from its document to its report: trained as far as it still has to be, shown, and mirrored."""

import shlex
import sys
from contextlib import ExitStack, closing
from threading import Thread

from rich.console import Console

from tuner.campaign.agenda import next_step
from tuner.campaign.campaign import Campaign
from tuner.campaign.document import Document
from tuner.campaign.folder import Folder
from tuner.campaign.plan import plan
from tuner.campaign.preflight import preflight
from tuner.campaign.storage import check_storage
from tuner.campaign.trial import Trial
from tuner.commands.opening import Opening
from tuner.commands.screen import teller


def run(document: Document, file: str, address: str | None, opening: Opening, console: Console) -> int:
    """Runs a campaign, or goes on with it.

    Args:
        file: where the document stands, for faults in it.
        address: the Ray cluster to join; None starts a Ray of this run's own.
    Returns:
        The exit code: 0 all well, 1 some trials failed or something is in the way, 130 or 143 interrupted.
    Raises:
        DocumentError: the document cannot be run here, or is not the one that the campaign was begun with.
        LedgerError: the ledger is damaged, or another run holds it.
    """
    tell = teller(console)
    facts = preflight(document, file)
    check_storage(document, facts, file, shared=joins(address))
    with (
        opening.held(Folder(document.folder).ledger, tell) as lock,
        closing(Campaign.open(document, facts, lock)) as campaign,
    ):
        if torn := campaign.ledger.repaired_bytes:
            tell(f"The ledger ended in {torn} bytes of an unfinished line, which were cut off.")
        try:
            return carry_out(campaign, file, console, address)
        except Exception:
            if failure := campaign.ledger.failure:  # Ray hands on no more than its text
                raise failure from None
            raise


def joins(address: str | None) -> bool:
    """Whether a Ray that runs already is joined, which may have other nodes."""
    return address not in (None, "", "local")


def carry_out(campaign: Campaign, file: str, console: Console, address: str | None) -> int:
    """Trains what is left, shows what was found, and waits a while for MLflow; the exit code."""
    # Imported here, so that a wrong document is refused at once.
    from tuner.tracking.address import server_of, shown_uri, sync_command, tracking_uri, ui_command
    from tuner.tracking.mirror import Mirror

    tell = teller(console)
    uri = tracking_uri(campaign.document, campaign.folder)
    mirror = Mirror(campaign.folder, uri)
    complete = next_step(campaign.state, set()) == "done"
    interrupted = None if complete else _train(campaign, mirror, file, console, address)
    from tuner.reporting.show import show  # figures and tables: when Ray has been started, if it has to be

    try:
        show(campaign.folder, console)
    except OSError as error:  # no room: what it would show is in the ledger
        tell(f"The report cannot be written: {error}. Later: uv run report.py {campaign.document.name}")
    mirror.start()
    if mirror.drain():
        tell(f"MLflow   {ui_command(uri)}\n         {server_of(uri)}{mirror.page}")
    else:
        tell(
            f"MLflow   {shown_uri(uri)} does not have all of it yet: {mirror.error}\n"
            f"         The ledger does. Later: {sync_command(campaign.document, campaign.folder, uri)}"
        )
    if interrupted:
        tell(f"Interrupted; all is recorded. Go on with: uv run {_again(campaign)}")
        return 128 + interrupted
    if campaign.obstacle:
        tell(f"Stopped: {campaign.obstacle}\nAll is recorded. Once that is mended, the same command goes on.")
        return 1
    return 1 if any(map(_went_wrong, campaign.state.trials.values())) or _without_choice(campaign) else 0


def _train(campaign: Campaign, mirror, file: str, console: Console, address: str | None) -> int | None:
    """Trains all that is left; the number of the signal that stopped it, if one did."""
    from tuner.reporting.plan_table import print_plan
    from tuner.reporting.progress import Progress
    from tuner.search import driver
    from tuner.search.session import OWN, ray_session
    from tuner.search.shared_storage import check_nodes

    tell = teller(console)
    document = campaign.document
    progress = Progress(campaign.state, console)

    def begin(step_seconds: dict[str, float], workers: int) -> None:
        print_plan(plan(document, campaign.facts, step_seconds, workers), document, console)
        mirror.start()
        showing.enter_context(progress)

    Thread(target=_import_ahead, args=(mirror,), daemon=True).start()
    with ray_session(address or OWN), ExitStack() as showing:
        if joins(address):
            check_nodes(document, campaign.facts, file)
        campaign.listen(progress.listener)
        campaign.listen(lambda record: [tell(note) for note in record.get("notes", ())])
        try:
            driver.execute(campaign, file, begin, tell)
        except driver.Interrupted as stopped:
            return stopped.signal
    return None


def _import_ahead(mirror) -> None:
    """What is needed later, while Ray starts: that leaves this process waiting for seconds."""
    mirror.prepare()
    from tuner.reporting import show  # noqa: F401


def _again(campaign: Campaign) -> str:
    """The command that goes on with the campaign: that which extended it would do so once more."""
    extending = sys.argv[1:2] == ["extend"]
    return shlex.join([sys.argv[0], "run", str(campaign.folder.document)] if extending else sys.argv)


def _went_wrong(trial: Trial) -> bool:
    """A search may well try a learning rate that diverges; what it chose must not."""
    return trial.status == "failed" or (trial.status == "diverged" and trial.kind == "final")


def _without_choice(campaign: Campaign) -> bool:
    """Whether some search has no trial that went through, so that nothing could be refitted."""
    state, searched = campaign.state, campaign.document.search.trials
    return bool(searched) and any(state.best(study.name) is None for study in campaign.document.studies)
