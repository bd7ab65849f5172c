"""Random search (Bergstra & Bengio, JMLR 13, 2012): each range evenly, in the logarithm where it is logarithmic."""

from typing import Any

from optuna.samplers import RandomSampler

from tuner.campaign.spaces import Space
from tuner.search.samplers.optuna_study import decoded, distribution


def suggest(space: Space, seed: int) -> dict[str, Any]:
    """A setting that depends on the seed alone."""
    sampler = RandomSampler(seed=seed % 2**32)
    return {
        # Optuna's sampler looks at neither study nor trial.
        name: decoded(dimension, sampler.sample_independent(None, None, name, distribution(dimension)))
        for name, dimension in space.items()
    }
