"""The report's figures, each as the text of one SVG element, or nothing where there is nothing to draw yet."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from itertools import accumulate
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from tuner.campaign.spaces import Choices, Dimension
from tuner.campaign.trial import Trial
from tuner.reporting.results import MethodResult, Results, StudyResult

# Okabe and Ito's palette without its yellow, which is too light for a dot on white: told apart with any colour vision.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5f5f5f")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("-", "--", ":", "-.")

_WIDTH = 9.0  # inches, shown some 900 pixels wide
_INK, _FAINT = "#333333", "#e4e4e4"
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # texts stay texts: small, selectable, in the font of the page
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.8,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Style:
    """How a method is drawn, the same in every figure."""

    colour: str
    marker: str
    dash: str


def styles(results: Results) -> dict[str, Style]:
    """One style a method. Marker and dash turn too, so that no two of the first 49 methods look alike."""
    turns = [(index, index // len(_COLOURS)) for index in range(len(results.methods))]
    return {
        method.name: Style(
            _COLOURS[index % len(_COLOURS)],
            _MARKERS[(index + turn) % len(_MARKERS)],
            _DASHES[turn % len(_DASHES)],
        )
        for method, (index, turn) in zip(results.methods, turns, strict=True)
    }


def _drawn(draw: Callable[..., Figure | None]) -> Callable[..., str]:
    """Makes an SVG of what `draw` draws, the same bytes for the same results."""

    @wraps(draw)
    def svg(results: Results, *study: StudyResult) -> str:
        # All figures stand in one page: the salt keeps the ids inside one apart from those of the others.
        salt = "-".join([draw.__name__, *(s.name for s in study)])
        with matplotlib.rc_context({**_STYLE, "svg.hashsalt": salt}):
            figure, text = draw(results, *study), io.StringIO()
            if figure is None:
                return ""
            figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        return text.getvalue()[text.getvalue().index("<svg") :]

    return svg


@_drawn
def final_errors(results: Results) -> Figure | None:
    """Test error: one dot a seed, or a study where there are several, and the mean with its interval."""
    methods = [method for method in results.ranked if method.tested()]
    if not methods:
        return None
    longest = max(len(method.name) for method in methods)
    figure, grid = _grid(height=0.44 * len(methods), left=0.3 + 0.085 * longest)
    axes, looks = grid[0, 0], styles(results)
    for place, method in enumerate(methods):
        look, summary = looks[method.name], method.summary()
        errors = 100 * np.array(list(method.tested().values()))
        # One beside the other: equal errors stay visible, and a seed has the same height in every row.
        heights = place - 0.2 + _fanned(len(errors))
        axes.plot(errors, heights, look.marker, color=look.colour, ms=4.5, alpha=0.6, mew=0)
        if summary.low is not None:
            axes.plot([100 * summary.low, 100 * summary.high], [place + 0.2] * 2, color=look.colour, lw=2.2)
        axes.plot(100 * summary.mean, place + 0.2, "D", color=look.colour, ms=6.5, mec="white", mew=1)
    axes.set_yticks(range(len(methods)), [method.name for method in methods], fontsize=10)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("test error, %")
    return figure


@_drawn
def learning_curves(results: Results) -> Figure | None:
    """Validation error of the final runs by epoch: a thin line a seed, a thick one for the mean."""
    curves = {method.name: _curves(method) for method in results.ranked}
    if not any(map(len, curves.values())):
        return None
    figure, grid = _grid(height=2.9)
    axes, looks = grid[0, 0], styles(results)
    training = results.document.training
    epochs = [epoch for epoch in range(1, training.epochs + 1) if training.evaluates(epoch)]
    for name, runs in curves.items():
        drawn = {"color": looks[name].colour, "ls": looks[name].dash}
        for run in runs:
            axes.plot(epochs, _heights(run, results), **drawn, lw=0.6, alpha=0.3)
        if len(runs):
            axes.plot(epochs, _heights(runs.mean(axis=0), results), **drawn, lw=1.8, label=name)
    _log_errors(axes)
    axes.set_xlim(epochs[0], epochs[-1])
    axes.set(xlabel="epoch", ylabel="validation error, %")
    axes.legend(loc="upper right", ncols=min(4, len(curves)))
    return figure


@_drawn
def search(results: Results, study: StudyResult) -> Figure | None:
    """Every search trial at its last epoch, in the order of the search, and the best full-length one so far."""
    ended = [trial for trial in study.searched if trial.ended]
    if not ended:
        return None
    figure, grid = _grid(height=1.75, right=1.25)
    axes, colour = grid[0, 0], styles(results)[study.method].colour
    for status, look in _STATUS_LOOKS.items():
        trials = [trial for trial in ended if trial.status == status]
        if trials:
            numbers, heights = [trial.number for trial in trials], [_height(trial, results) for trial in trials]
            axes.plot(numbers, heights, **look, ls="", color=colour, clip_on=False, label=status)
    axes.step(*_best_so_far(ended, results), where="post", color=colour, lw=1, alpha=0.6, label="best so far")
    if study.best:
        _ring(axes, study.best.number, study.best, results)
    axes.set_xlim(-0.6, max(trial.number for trial in ended) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _log_errors(axes, _error_range(results))
    axes.set(xlabel="search trial", ylabel="validation error, %")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), handlelength=1.2)
    return figure


@_drawn
def hyperparameters(results: Results, study: StudyResult) -> Figure | None:
    """Validation error against each searched hyper-parameter."""
    ended = [trial for trial in study.searched if trial.ended]
    if not ended or not study.space:
        return None
    figure, grid = _grid(height=1.6, rows=-(-len(study.space) // 4), columns=4)
    colour = styles(results)[study.method].colour
    for axes in grid.flat[len(study.space) :]:
        axes.remove()
    for axes, (name, dimension) in zip(grid.flat, study.space.items(), strict=False):
        place = _places(axes, dimension)
        for status, look in _STATUS_LOOKS.items():
            trials = [trial for trial in ended if trial.status == status]
            places = [place(trial.params[name]) for trial in trials]
            heights = [_height(trial, results) for trial in trials]
            axes.plot(places, heights, **{**look, "ms": 4.5}, ls="", color=colour, clip_on=False)
        if study.best:
            _ring(axes, place(study.best.params[name]), study.best, results)
        axes.set_xlabel(name)
        _log_errors(axes, _error_range(results))
        axes.tick_params(labelleft=False)
    for axes in grid[:, 0]:
        axes.set_ylabel("validation error, %")
        axes.tick_params(labelleft=True)
    return figure


def _grid(
    *, height: float, left: float = 0.65, right: float = 0.1, rows: int = 1, columns: int = 1
) -> tuple[Figure, np.ndarray]:
    """Axes (rows, columns), each `height` inches high, with the margins in inches.

    Fixed margins rather than a layout engine: the axes of all figures begin at the same place, and the page is written
    in a third of the time.
    """
    top, bottom, between = 0.1, 0.45, 0.55
    total = top + bottom + rows * height + (rows - 1) * between
    figure = Figure((_WIDTH, total))
    margins = {"left": left / _WIDTH, "right": 1 - right / _WIDTH, "top": 1 - top / total, "bottom": bottom / total}
    gaps = {"hspace": between / height, "wspace": 0.12}
    return figure, figure.subplots(rows, columns, squeeze=False, gridspec_kw={**margins, **gaps})


_STATUS_LOOKS: dict[str, dict[str, Any]] = {
    "completed": {"marker": "o", "ms": 6},
    "stopped": {"marker": "o", "ms": 5.5, "mfc": "white", "mew": 1.2},
    "audited": {"marker": "D", "ms": 5.5, "mfc": "white", "mew": 1.2},
    "diverged": {"marker": "x", "ms": 6, "mew": 1.6},
    "failed": {"marker": "+", "ms": 8, "mew": 1.6},
}

_SOUND = ("completed", "stopped", "audited")


def _fanned(count: int) -> np.ndarray:
    return np.linspace(-0.12, 0.12, count) if count > 1 else np.zeros(1)


def _curves(method: MethodResult) -> np.ndarray:
    """Validation errors (runs, evaluated epochs) of the measured final runs; none where there was no validation."""
    runs = [[row["val_error"] for row in trial.rows if "val_error" in row] for trial in method.measured]
    return np.array([run for run in runs if run])


def _heights(errors: np.ndarray, results: Results) -> np.ndarray:
    """In percent. The axis is logarithmic: an error of zero stands at half an image."""
    return 100 * np.maximum(errors, 0.5 / results.opened["facts"]["validation_images"])


def _height(trial: Trial, results: Results) -> float:
    """Of a search trial's last error; a broken trial stands at the upper edge."""
    return _last_height(trial, results) if trial.status in _SOUND else _error_range(results)[1]


def _last_height(trial: Trial, results: Results) -> float:
    return float(_heights(np.array(trial.rows[-1]["val_error"]), results))


def _error_range(results: Results) -> tuple[float, float]:
    """Of the axes of all searches alike, so that they can be laid side by side."""
    trials = [trial for method in results.methods for trial in method.searched if trial.status in _SOUND]
    heights = [_last_height(trial, results) for trial in trials] or [1.0, 100.0]
    return min(heights) / 1.3, max(heights) * 1.3


def _best_so_far(ended: list[Trial], results: Results) -> tuple[list[int], list[float]]:
    """Trial numbers and the least error among full-length trials up to each, drawn on to the last trial."""
    completed = [trial for trial in ended if trial.status == "completed"]
    if not completed:
        return [], []
    best = list(accumulate((_height(trial, results) for trial in completed), min))
    return [*(trial.number for trial in completed), ended[-1].number], [*best, best[-1]]


def _ring(axes: Axes, place: float, trial: Trial, results: Results) -> None:
    """Around the chosen trial."""
    axes.plot(place, _height(trial, results), "o", ms=11, mfc="none", mec=_INK, mew=0.9, clip_on=False)


def _places(axes: Axes, dimension: Dimension) -> Callable[[Any], float]:
    """Sets the axis up for a dimension; where on it a value stands."""
    if isinstance(dimension, Choices):
        labels = [str(choice) for choice in dimension.choices]
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlim(-0.5, len(labels) - 0.5)
        return lambda value: labels.index(str(tuple(value) if isinstance(value, list) else value))
    if dimension.log:
        axes.set_xscale("log")
        axes.set_xlim(dimension.low / 1.1, dimension.high * 1.1)
        _plain_log_ticks(axes.xaxis)
    else:
        margin = 0.05 * (dimension.high - dimension.low)
        axes.set_xlim(dimension.low - margin, dimension.high + margin)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    return float


def _log_errors(axes: Axes, edges: tuple[float, float] | None = None) -> None:
    axes.set_yscale("log")
    axes.set_ylim(edges)
    _plain_log_ticks(axes.yaxis)


def _plain_log_ticks(axis: Axis) -> None:
    """Four ticks or so, written as one reads them: 0.05, 0.1; below a hundredth 5e-4."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 50 else (1, 3) if high / low < 500 else (1,)))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_locator(NullLocator())


def _plain(value: float, _: int) -> str:
    return f"{value:g}" if value >= 0.01 else f"{value:.0e}".replace("e-0", "e-")
