"""How numbers are written, in every table, figure and sentence alike."""

from collections.abc import Mapping
from typing import Any

NOTHING = "–"


def percent(fraction: float | None) -> str:
    """0.0207 as 2.07: the unit stands in the heading or behind."""
    return NOTHING if fraction is None else f"{100 * fraction:.2f}"


def points(difference: float | None) -> str:
    """A difference of two fractions in percentage points, with its sign: -1.38."""
    return NOTHING if difference is None else f"{100 * difference:+.2f}"


def spread(mean: str, std: str) -> str:
    """2.07 ± 0.15; a single value stands alone."""
    return mean if std == NOTHING else f"{mean} ± {std}"


def interval(low: str, high: str) -> str:
    """[1.88, 2.26]."""
    return NOTHING if NOTHING in (low, high) else f"[{low}, {high}]"


def p_value(p: float | None) -> str:
    """Three digits and no leading zero: .004."""
    if p is None:
        return NOTHING
    return "< .001" if p < 0.001 else "1" if p > 0.9995 else f"{p:.3f}".removeprefix("0")


def duration(seconds: float) -> str:
    """In the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def budget(amount: float, unit: str) -> str:
    """An amount of trials, epochs or hours."""
    return duration(3600 * amount) if unit == "hours" else f"{amount:g} {unit}"


def reason(error: Mapping[str, str] | None) -> str:
    """What a trial broke on, in one line: OutOfMemoryError: no memory."""
    error = error or {}
    message = error.get("message", "").strip().split("\n")[0]
    return f"{error.get('class', '')}: {message}".strip(": ")


def setting(params: Mapping[str, Any]) -> str:
    """Hyper-parameters in one line: lr 0.087  alpha 0.41."""
    return "  ".join(f"{name} {_value(value)}" for name, value in params.items())


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_value, value))})"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def counted(number: int, noun: str) -> str:
    """1 trial, 2 trials."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
