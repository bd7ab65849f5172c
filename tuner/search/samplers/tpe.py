"""The tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011; Watanabe 2023, arXiv 2304.11127), by Optuna."""

from collections.abc import Sequence
from typing import Any

from optuna.samplers import TPESampler

from tuner.campaign.observation import Observation
from tuner.campaign.spaces import Space
from tuner.search.samplers import optuna_study


def suggest(space: Space, observations: Sequence[Observation], startup: int, seed: int) -> dict[str, Any]:
    """The next setting: random until `startup` trials are told.

    All hyper-parameters are drawn jointly, and trials that run count as bad ones, so that workers spread (Optuna's
    defaults of `multivariate` and `constant_liar`). Pruned trials rank behind complete ones: those that were stopped
    later first, then by the value that they were stopped with. Broken ones are not learned from.
    """
    return optuna_study.ask(TPESampler(seed=seed % 2**32, n_startup_trials=startup), space, observations)
