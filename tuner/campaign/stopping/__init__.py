"""Early stopping of search trials: one rule a study, folded from the ledger like everything else."""

from tuner.campaign.settings import Search
from tuner.campaign.stopping.asha import Asha, rung_epochs
from tuner.campaign.stopping.fifo import Fifo
from tuner.campaign.stopping.hyperband import Hyperband
from tuner.campaign.stopping.median import Median
from tuner.campaign.stopping.rule import StoppingRule
from tuner.training.settings import Training

__all__ = ["StoppingRule", "expected_epochs", "stopping_epochs", "stopping_rule"]


def stopping_rule(search: Search, training: Training) -> StoppingRule:
    """The rule of a study, with nothing recorded yet.

    Args:
        search: which rule, and how it is set.
        training: how long a trial trains, and how often it looks at the validation images.
    """
    return _rule(search, training)


def stopping_epochs(search: Search, training: Training) -> tuple[int, ...]:
    """Every epoch at which some search trial may be stopped, in order."""
    match _rule(search, training):
        case Asha(rungs=epochs) | Hyperband(rungs=epochs) | Median(judged=epochs):
            return epochs
    return ()


def expected_epochs(search: Search, training: Training, trials: int) -> float:
    """Epochs that one of a study's `trials` is expected to train; audited ones run on."""
    if trials == 0:
        return float(training.epochs)
    stopped = _rule(search, training).stopped(trials)
    saved = sum(count * (1 - search.audit) * (training.epochs - epoch) for epoch, count in stopped.items())
    return training.epochs - saved / trials


def _rule(search: Search, training: Training) -> StoppingRule:
    grace, epochs, every = search.first_rung(training), training.epochs, training.evaluate_every
    match search.scheduler:
        case "asha":
            return Asha(rung_epochs(grace, search.reduction, epochs, every), search.reduction)
        case "hyperband":
            return Hyperband(rung_epochs(grace, search.reduction, epochs, every), search.reduction)
        case "median":
            return Median(tuple(epoch for epoch in range(grace, epochs) if training.evaluates(epoch)), epochs)
        case "fifo":
            return Fifo()
