"""Samplers as functions of the ledger: the same trials and the same number give the same suggestion.

Nothing is kept between two suggestions, and each is seeded by (campaign seed, replicate, method, number). So nothing
has to be saved, a resumed search goes on exactly as an uninterrupted one, and no study can be ahead of the ledger.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from tuner.campaign.lattice import Lattice, all_settings, grid_setting
from tuner.campaign.observation import Observation
from tuner.campaign.settings import Search
from tuner.campaign.spaces import Space, as_searched
from tuner.campaign.study import Study
from tuner.campaign.trial import Trial
from tuner.search.samplers import gaussian_process, random_search, tpe
from tuner.training.streams import seed_of

Suggestion = tuple[dict[str, Any], dict[str, Any]]
"""Hyper-parameters, and the sampler's own notes on them."""

TRIES = 3
"""Where a sampler repeats a setting, before one that nobody tried is taken instead."""


def suggest(
    space: Space,
    paper: dict[str, Any],
    trials: Sequence[Trial],
    known: Sequence[Observation],
    search: Search,
    study: Study,
    number: int,
) -> Suggestion:
    """The hyper-parameters of search trial `number` of a study, and the sampler's own notes on them.

    A setting stands in a study once while there are others: what was tried already (choices and integers are few, and
    processes like corners) is drawn again, and at last replaced. When all are used up they repeat, with other seeds.

    Args:
        space: what is searched.
        paper: the paper's setting.
        trials: the study's so far, in order.
        known: those of an earlier campaign.
        search: the sampler and its seed.
        study: which one.
        number: the trial's; at least 1 where the space holds the paper's setting, which is trial 0.
    """
    seed = search.replicate_seed(study.replicate)
    if search.sampler == "grid":
        return grid_setting(space, paper, number, seed_of(seed, "sampler", study.method)), {}

    def draw(*again: int) -> Suggestion:
        return _sampled(space, trials, known, search, seed_of(seed, "sampler", study.method, number, *again))

    settings = all_settings(space)
    if settings is None and search.sampler == "random":
        return draw()  # which does not meet what was drawn before
    used = {_key(tried.params, space) for tried in (*known, *trials)}
    first = draw()
    redrawn = (draw(again) for again in range(1, TRIES))
    untried = _untried(space, settings, len(used), seed_of(seed, "unused", study.method, number))
    candidates = chain([first], redrawn, ((params, {}) for params in untried))
    return next((candidate for candidate in candidates if _key(candidate[0], space) not in used), first)


def _untried(space: Space, settings: Lattice | None, used: int, seed: int) -> Iterator[dict[str, Any]]:
    """Settings at random, of which one at least is none of so many that are used, where there are more."""
    if settings is None:
        yield random_search.suggest(space, seed)
    else:
        for step in range(min(settings.size, used + 1)):
            yield settings.point((seed + step) % settings.size)


def _sampled(
    space: Space, trials: Sequence[Trial], known: Sequence[Observation], search: Search, seed: int
) -> Suggestion:
    if search.sampler == "random":
        return random_search.suggest(space, seed), {}
    told = [Observation.of(trial, f"val_{search.metric}") for trial in trials]
    # Optuna starts with ten random trials whatever the budget; of a small one that would be nearly all.
    startup = min(10, max(4, search.trials // 4))
    match search.sampler:
        case "tpe":
            return tpe.suggest(space, [*known, *told], startup, seed), {}
        case "gp":
            return gaussian_process.suggest(space, [*known, *told], startup, seed), {}
        case "cmaes":
            # Not above: its package imports half of scipy, which no other sampler needs.
            from tuner.search.samplers import cma_es

            return cma_es.suggest(space, told, known, seed)


def _key(params: dict[str, Any], space: Space) -> tuple:
    return tuple(as_searched(params[name]) for name in space)
