"""Campaigns by their names."""

from pathlib import Path

from tuner.campaign import ledger
from tuner.campaign.fold import State
from tuner.campaign.folder import Folder, last_campaign
from tuner.campaign.ledger import LedgerError


class UnknownCampaign(LedgerError):
    """There is no campaign of that name; the message lists those there are."""


def find(name: str | None, storage: Path) -> Folder:
    """The campaign of that name, or the one that was written last; raises UnknownCampaign."""
    if name is None:
        if folder := last_campaign(storage):
            return folder
        raise UnknownCampaign(f'There is no campaign in "{storage}" yet; uv run tune.py starts one.')
    folder = Folder(storage / name)
    if folder.ledger.exists():
        return folder
    known = ", ".join(sorted(path.parent.name for path in storage.glob("*/ledger.jsonl"))) or "none"
    raise UnknownCampaign(f'There is no campaign "{name}" in "{storage}". Campaigns there: {known}.')


def state_of(folder: Folder) -> State:
    """The state that the campaign's ledger tells, also while it is being written; LedgerError if it tells nothing."""
    state = State.of(record for record, _ in ledger.read(folder.ledger))
    if state.document is None:
        raise LedgerError(f"{folder.ledger} holds no record yet: the campaign was not started.")
    return state
