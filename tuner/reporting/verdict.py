"""The verdict in words: what the data show, what they do not, and what a reader must know beside it."""

from collections import Counter
from collections.abc import Iterable
from math import isclose

from tuner.campaign.parity import Parity
from tuner.campaign.stopping import stopping_epochs
from tuner.reporting.budgets import budgets
from tuner.reporting.notation import budget, counted, interval, p_value, percent, points
from tuner.reporting.results import MethodResult, Pair, Results, StudyResult


def verdict(results: Results) -> list[str]:
    """Who won, as far as that was shown; one sentence a line."""
    if results.obstacles:
        return [f"Not ranked: {'; '.join(results.obstacles)}."]
    first, *others = results.ranked
    if not others:
        return [
            f"{first.name} has a test error of {percent(first.summary().mean)} %. With one method, nothing to compare."
        ]
    leaders = [method for method in results.ranked if isclose(method.summary().mean, first.summary().mean)]
    if not any(pair.shown for pair in results.pairs):
        return [_nothing_shown(results), _lead(leaders)]
    if len(leaders) > 1:
        return [_lead(leaders), *_among(results.ranked, "Shown", results)]
    return [_lead(leaders), *_against_others(first, results), *_among(others, "Also shown", results)]


def warnings(results: Results) -> list[str]:
    """What weakens the verdict; one sentence a line."""
    return [*_to_come(results), *_grace(results), *_broken(results)]


def parities(results: Results) -> list[str]:
    """Whether the searches cost the same, in each unit, and what they spent of each budget; one line each."""
    spent = {study.name: study.search_spent for study in results.studies}
    lines = [_parity(parity, parity is results.parity) for parity in results.parities]
    return [*lines, *budgets(results.document, spent, results.wall_seconds)]


def _parity(parity: Parity, declared: bool) -> str:
    low, high = (budget(pick(parity.spent.values()), parity.unit) for pick in (min, max))
    apart = f"{low} to {high}, {100 * parity.gap:.2g} % apart" if parity.gap else f"{high} each"
    demand = f" (what this campaign asks to be equal: {'it is' if parity.holds else 'it is not'})" if declared else ""
    return f"Search budget in {parity.unit}: {apart}{demand}."


def _lead(leaders: list[MethodResult]) -> str:
    names, error = " and ".join(method.name for method in leaders), percent(leaders[0].summary().mean)
    return f"{names} {'has' if len(leaders) == 1 else 'have'} the lowest mean test error ({error} %)."


def _nothing_shown(results: Results) -> str:
    search, pairs = results.document.search, len(results.pairs)
    values = search.replicates if results.replicated else len(results.document.final.seeds)
    if values == 1:
        return "No difference shown between any two methods: one seed cannot show one."
    noun = "replicates" if results.replicated else "seeds"
    return f"No difference shown between any two methods ({values} {noun}, {counted(pairs, 'comparison')})."


def _against_others(first: MethodResult, results: Results) -> Iterable[str]:
    pairs = [pair for pair in results.pairs if pair.first == first.name]
    if any(pair.shown for pair in pairs):
        yield f"Shown better than {_shown(pairs)}."
    if open_ := [pair.second for pair in pairs if not pair.shown]:
        yield f"No difference shown to {', '.join(open_)}."


def _among(methods: Iterable[MethodResult], opening: str, results: Results) -> Iterable[str]:
    for method in methods:
        pairs = [pair for pair in results.pairs if pair.first == method.name]
        if any(pair.shown for pair in pairs):
            yield f"{opening}: {method.name} better than {_shown(pairs)}."


def _shown(pairs: list[Pair]) -> str:
    return ", ".join(f"{pair.second} {_evidence(pair)}" for pair in pairs if pair.shown)


def _evidence(pair: Pair) -> str:
    comparison, p = pair.comparison, p_value(pair.p_adjusted)
    bounds = interval(points(comparison.low), points(comparison.high))
    sign = "" if p.startswith("<") else "= "
    return f"({points(comparison.difference)} points, 95 % CI {bounds}, Holm p {sign}{p})"


def _to_come(results: Results) -> Iterable[str]:
    parts = [f"{study.name}: {' and '.join(todo)}" for study in results.studies if (todo := _todo(study))]
    if parts:
        yield f"Still to come: {'; '.join(parts)}. The same run command goes on."


def _todo(study: StudyResult) -> list[str]:
    numbers = {"search trial": study.search_to_come, "final run": study.finals_to_come}
    return [counted(number, noun) for noun, number in numbers.items() if number]


def _grace(results: Results) -> Iterable[str]:
    search, training = results.document.search, results.document.training
    rungs, safe = stopping_epochs(search, training), search.safe_grace(training)
    if rungs and rungs[0] < safe:
        yield (
            f"Trials could be stopped from epoch {rungs[0]} on; below epoch {safe} strong regularizers, "
            "which start slowly, may have been stopped for their start."
        )


def _broken(results: Results) -> Iterable[str]:
    counts = Counter((method.name, trial.status) for method in results.methods for trial in method.broken)
    if counts:
        yield "; ".join(f"{counted(n, 'trial')} of {name} {status}" for (name, status), n in counts.items()) + "."
