"""What a few seeds can show: means with intervals, and differences between methods, paired by seed.

Every error bar here is one of training noise: initialisation, data order, augmentation and the method's own draws. The
split and the search were drawn once, so their noise is in no bar (Bouthillier et al., MLSys 2021, arXiv 2103.03098).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (n - 1) and 95 % t interval of the mean; one value has neither spread nor interval."""

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        """The summary of one value a seed; at least one."""
        mean = float(np.mean(values))
        if len(values) < 2:
            return cls(1, mean, None, None, None)
        std = float(np.std(values, ddof=1))
        margin = _margin(std, len(values))
        return cls(len(values), mean, std, mean - margin, mean + margin)


@dataclass(frozen=True)
class Comparison:
    """The mean difference of two methods over their common seeds, its 95 % t interval, and the paired t-test's p-value.

    Both methods start a seed with the same weights and the same data order, so the noise that they share cancels.
    Without an estimate of the noise (one seed, or the very same difference at every seed) there is no interval; `p` is
    then None, and 1 where the difference is zero throughout.
    """

    n: int
    difference: float
    low: float | None
    high: float | None
    p: float | None

    @classmethod
    def paired(cls, first: Mapping[int, float], second: Mapping[int, float]) -> "Comparison | None":
        """`first` minus `second`, each a value by seed; None where they share no seed."""
        seeds = sorted(first.keys() & second.keys())
        if not seeds:
            return None
        differences = np.array([first[seed] - second[seed] for seed in seeds])
        n, mean = len(seeds), float(np.mean(differences))
        # Errors are counts over the size of one test set: equal differences are common, up to rounding.
        resolution = 1e-12 * max(abs(value) for seed in seeds for value in (first[seed], second[seed]))
        if n < 2 or np.ptp(differences) <= resolution:
            return cls(n, mean, None, None, 1.0 if n > 1 and abs(mean) <= resolution else None)
        std = float(np.std(differences, ddof=1))
        margin = _margin(std, n)
        p = 2 * stdtr(n - 1, -abs(mean) / (std / sqrt(n)))
        return cls(n, mean, mean - margin, mean + margin, float(p))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for being looked at together, in the given order (Holm, Scand. J. Statist. 6, 1979).

    An adjusted value below 0.05 keeps the chance of even one false "shown" among all of them below 5 %.
    """
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted


def _margin(std: float, n: int) -> float:
    """Half the width of the t interval of a mean."""
    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * std / sqrt(n)
