"""What a campaign would take, before it takes anything."""

from rich.console import Console

from tuner.campaign.document import Document
from tuner.campaign.faults import DocumentError
from tuner.campaign.plan import plan
from tuner.campaign.preflight import preflight
from tuner.campaign.storage import bytes_needed
from tuner.commands.screen import Tell, teller
from tuner.reporting.plan_table import print_cost, print_plan


def foresee(document: Document, file: str, price: float | None, address: str | None, console: Console) -> None:
    """Prints the plan and its cost; times are missing where no step could be measured."""
    facts = preflight(document, file)
    made = plan(document, facts, *_measured(document, file, address, teller(console)))
    print_plan(made, document, console)
    print_cost(made, bytes_needed(document, facts), price, console)


def _measured(
    document: Document, file: str, address: str | None, tell: Tell
) -> tuple[dict[str, float] | None, int | None]:
    """Seconds of a step of each method and the trials that run at once; nothing where there is no room for one."""
    # Imported here, so that a wrong document is refused at once.
    from tuner.search.nodes import workers
    from tuner.search.session import OWN, ray_session
    from tuner.search.step_seconds import step_seconds

    with ray_session(address or OWN):
        try:
            concurrent = workers(document.resources, file)
        except DocumentError as refusal:
            tell(f"No step can be measured here, so that no times follow. {refusal}")
            return None, None
        return step_seconds(document, concurrent, file), concurrent
