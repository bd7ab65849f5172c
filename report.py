"""Shows, exports and mirrors what a campaign found: `uv run report.py` shows the last one."""

import sys
from pathlib import Path

from cyclopts import App
from rich.console import Console

from tuner.campaign.document import Document
from tuner.campaign.ledger import LedgerError
from tuner.commands.garbage import collect_rarely
from tuner.reporting.export import export as export_best
from tuner.reporting.files import shown
from tuner.reporting.find import UnknownCampaign, find, state_of
from tuner.reporting.show import show as show_campaign

STORAGE = Path(Document.model_fields["storage"].default)

app = App(name="report.py", help=__doc__)


@app.default
@app.command
def show(name: str | None = None, *, storage: Path = STORAGE) -> None:
    """Print verdict and table, and write the report (HTML, Markdown, CSV) into the campaign's folder.

    Parameters
    ----------
    name
        The campaign; the one that was written last if not given.
    storage
        The folder that holds the campaigns.
    """
    show_campaign(find(name, storage), Console())


@app.command
def export(name: str | None = None, *, out: Path, storage: Path = STORAGE) -> None:
    """Write the best configuration of every method as a file that `uv run tune.py rerun` runs.

    Parameters
    ----------
    name
        The campaign; the one that was written last if not given.
    out
        The folder to write to.
    storage
        The folder that holds the campaigns.
    """
    for path in export_best(state_of(find(name, storage)), out).values():
        print(f"uv run tune.py rerun {shown(path)}")


@app.command
def sync(name: str | None = None, *, uri: str | None = None, storage: Path = STORAGE) -> None:
    """Bring MLflow up to what the ledger says, on the campaign's own server or another one.

    Parameters
    ----------
    name
        The campaign; the one that was written last if not given.
    uri
        The MLflow server or database; the campaign's own if not given.
    storage
        The folder that holds the campaigns.
    """
    # No other command needs it.
    from tuner.tracking.address import server_of, ui_command
    from tuner.tracking.mirror import sync as sync_campaign
    from tuner.tracking.problem import TrackingError

    try:
        synced = sync_campaign(find(name, storage), uri)
    except TrackingError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(f"{synced.records} records are in MLflow.")
    print(f"{ui_command(synced.uri)}\n{server_of(synced.uri)}{synced.page}")


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line; what a user can mend is told in a sentence, with exit code 2."""
    try:
        app(arguments)
    except (UnknownCampaign, LedgerError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a full disk, or a folder that is not ours to write to
        place, reason = error.filename or "A file", error.strerror or error
        print(
            f"{place} cannot be used: {reason}. The ledger is as it was. Make room, or the folder writable, and repeat "
            "the command.",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    collect_rarely()
    main()
