"""Tunes regularizers as a campaign document says. `tune.py --help` lists the commands."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console

from tuner.campaign import reading
from tuner.campaign.document import Document
from tuner.campaign.faults import DocumentError
from tuner.campaign.ledger import LedgerError
from tuner.campaign.lock import AppendError
from tuner.commands.extend import extend as extend_campaign
from tuner.commands.foresee import foresee
from tuner.commands.garbage import collect_rarely
from tuner.commands.opening import Opening
from tuner.commands.run import run as run_campaign

STORAGE = Path(Document.model_fields["storage"].default)

DEFAULT = Path(__file__).parent / "campaigns" / "digits.yaml"

app = App(name="tune.py", help="Tune regularizers under one budget, rerun the winners, and say honestly who won.")

Address = Annotated[str | None, Parameter(env_var="RAY_ADDRESS", show_default=False)]

MANY = Parameter(consume_multiple=True)
"""Several values behind one option."""


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
    return run_campaign(reading.load(campaign), str(campaign), address, opening or Opening(), Console())


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
    document = reading.load(config).with_seeds(seeds)
    return run_campaign(document, str(config), address, opening or Opening(), Console())


@app.command(name="plan")
def plan_(
    campaign: Path = DEFAULT,
    *,
    price: Annotated[float | None, Parameter(validator=Number(gte=0))] = None,
    address: Address = None,
) -> None:
    """Show what a campaign would take; a few batches of each method are trained to measure it, and nothing is kept.

    Parameters
    ----------
    campaign
        The campaign document, a YAML file.
    price
        Of a GPU-hour, or of a CPU-hour where a trial uses no GPU.
    address
        The Ray cluster to measure on, as for run.
    """
    foresee(reading.load(campaign), str(campaign), price, address, Console())


@app.command
def status(
    name: str | None = None,
    *,
    watch: Annotated[bool, Parameter(negative=())] = False,
    storage: Path = STORAGE,
) -> None:
    """Show how a campaign stands, whether it runs or not.

    Parameters
    ----------
    name
        The campaign; the one that was written last if not given.
    watch
        Go on showing it, until it is complete or Ctrl-C.
    storage
        The folder that holds the campaigns.
    """
    from tuner.reporting.find import find
    from tuner.reporting.status import show_status, watch_status

    (watch_status if watch else show_status)(find(name, storage), Console())


@app.command
def extend(
    name: str,
    *,
    trials: str | None = None,
    methods: Annotated[list[str] | None, MANY] = None,
    seeds: str | None = None,
    budget: Annotated[list[str] | None, MANY] = None,
    storage: Path = STORAGE,
    address: Address = None,
    opening: Opening | None = None,
) -> int:
    """Add trials, methods, final seeds or budget to a campaign, and go on with it. What still counts is not run again.

    Parameters
    ----------
    name
        The campaign.
    trials
        Search trials to add to every study, such as +32.
    methods
        Methods to add, such as +fmix +cutout.
    seeds
        Final seeds to add, such as +5: they are counted on from the largest.
    budget
        What to add to the limits of the searches, such as epochs=+5000 gpu_hours=+10.
    storage
        The folder that holds the campaigns.
    address
        The Ray cluster to join, as for run.
    """
    return extend_campaign(
        name,
        storage,
        trials=trials,
        methods=methods or [],
        seeds=seeds,
        budget=budget or [],
        address=address,
        opening=opening or Opening(),
        console=Console(),
    )


@app.command
def simulate(
    name: str | None = None,
    *,
    scheduler: Annotated[list[Literal["asha", "hyperband", "median", "fifo"]] | None, MANY] = None,
    grace: Annotated[list[int] | None, MANY] = None,
    reduction: Annotated[list[int] | None, MANY] = None,
    trials: Annotated[list[int] | None, MANY] = None,
    epochs: Annotated[list[int] | None, MANY] = None,
    gpus: Annotated[list[int] | None, MANY] = None,
    workers: Annotated[list[int] | None, MANY] = None,
    storage: Path = STORAGE,
) -> None:
    """Play a recorded campaign again under other schedulers, budgets and machines; nothing is trained.

    Parameters
    ----------
    name
        The campaign; the one that was written last if not given.
    scheduler
        One or more; without any option, all of them are compared.
    grace
        Epochs before the first rung.
    reduction
        The best 1/reduction pass a rung.
    trials
        The first so many search trials of each study.
    epochs
        Budgets of each study's search, instead of the recorded one.
    gpus
        GPUs of the cluster, for a campaign that trains on GPUs.
    workers
        Trials that run at once; as many as the campaign ran, if neither is given.
    storage
        The folder that holds the campaigns.
    """
    from tuner.campaign.simulation import recorded, simulate
    from tuner.campaign.simulation_setups import setups
    from tuner.reporting.find import find, state_of
    from tuner.reporting.simulation_table import print_simulations

    state = state_of(find(name, storage))
    wanted = setups(
        state,
        scheduler or (),
        graces=grace or (),
        reductions=reduction or (),
        trials=trials or (),
        epochs=epochs or (),
        gpus=gpus or (),
        workers=workers or (),
    )
    print_simulations(state.document, recorded(state), [simulate(state, setup) for setup in wanted], Console())


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


def main() -> None:
    try:
        sys.exit(app())
    except (DocumentError, LedgerError) as refusal:
        Console(stderr=True).print(str(refusal), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1 if isinstance(refusal, AppendError) else 2)


if __name__ == "__main__":
    collect_rarely()
    main()
