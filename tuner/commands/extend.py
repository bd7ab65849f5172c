"""A campaign made larger, and run on."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console

from tuner.campaign.campaign import Campaign
from tuner.campaign.extension import extended
from tuner.campaign.preflight import preflight
from tuner.campaign.storage import check_storage
from tuner.commands.opening import Opening
from tuner.commands.run import joins, run
from tuner.commands.screen import teller
from tuner.reporting.find import find, state_of


def extend(
    name: str,
    storage: Path,
    *,
    trials: str | None,
    methods: Sequence[str],
    seeds: str | None,
    budget: Sequence[str],
    address: str | None,
    opening: Opening,
    console: Console,
) -> int:
    """Records the additions (see `tuner.campaign.extension`) once they are known to be sound, then goes on."""
    folder = find(name, storage)
    file = str(folder.document)
    tell = teller(console)
    with opening.held(folder.ledger, tell) as lock:
        # Where it lies now, whatever its document says of where it lay.
        begun = state_of(folder).document.model_copy(update={"storage": str(storage)})
        document = extended(begun, trials, methods, seeds, budget)
        facts = preflight(document, file)
        check_storage(document, facts, file, shared=joins(address))
        with closing(Campaign.open(begun, facts, lock)) as campaign:
            campaign.extend(document)
            if spent := [study.name for study in document.studies if campaign.state.spent_out(study.name)]:
                raising = " ".join(f"{limit}=+N" for limit in document.search.budget.limits)
                tell(f"No budget is left to search {', '.join(spent)} any further; --budget {raising} adds to it.")
    return run(document, file, address, Opening(), console)
