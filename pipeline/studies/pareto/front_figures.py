"""Figures of a walk along the Pareto front: sizes against accuracies, and one accuracy against the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from pipeline.evaluation.accuracy import Accuracy, interval_in_words
from pipeline.presentation.curves import pareto_front
from pipeline.presentation.style import (
    GREEN,
    GREY,
    MARKERS,
    OBJECTIVE_COLOURS,
    STYLE,
    TOP,
    Picture,
    add_legend,
    in_percent,
    make_axes,
    make_picture,
    padded,
    shortened_label,
)
from pipeline.presentation.words import magnitude, percent
from pipeline.studies.pareto.front import Front, FrontCell

CLEAN_COLOUR, ROBUST_COLOUR = OBJECTIVE_COLOURS["accuracy"], OBJECTIVE_COLOURS["robustness"]
POINT_COLOUR = GREEN  # where an axis, not a colour, says which accuracy it is
MOST_NUMBERS = 20  # points that get their number written beside them
FADED = 0.35  # of a point that another dominates


@rc_context(STYLE)
def pareto_pictures(front: Front) -> list[Picture]:
    """Draw parameters and MACs against both accuracies, and these against one another."""
    return [
        _size(front, "parameters", "Parameters and accuracy along the front", lambda cell: cell.parameters),
        _size(front, "MACs", "MACs and accuracy along the front", lambda cell: cell.macs),
        _accuracies(front),
    ]


def _size(front: Front, label: str, title: str, size: Callable[[FrontCell], int]) -> Picture:
    figure, axes = make_axes(label, "accuracy")
    cells = [*front.points, *front.published]
    for cell, marker, number in _drawn(front):
        for result, colour in ((cell.clean, CLEAN_COLOUR), (cell.robust, ROBUST_COLOUR)):
            _mark(axes, size(cell), result, colour, marker, _strength(cell, front))
        _number(axes, (size(cell), cell.robust.high), number)
    for index, colour in enumerate((CLEAN_COLOUR, ROBUST_COLOUR)):
        stairs = pareto_front([(size(cell), cell.objectives[index]) for cell in front.points])
        if len(stairs) > 1:
            axes.step(*zip(*stairs, strict=True), where="post", color=colour, linestyle=":", linewidth=1.2, zorder=1)
    axes.set(ylim=(0, TOP), xlim=padded([size(cell) for cell in cells]))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: magnitude(value)))
    in_percent(axes)
    attack = front.points[0].robust.attack
    accuracies = [_dot(CLEAN_COLOUR, "clean"), _dot(ROBUST_COLOUR, attack)]
    add_legend(figure, [*accuracies, *_other_cells(front)])
    caption = f"{_judged_on(front)} Dotted: the best that a point reaches up to a size."
    return make_picture(f"pareto-{label.lower()}", title, caption, _in_words(cells, label, size), figure)


def _accuracies(front: Front) -> Picture:
    figure, axes = make_axes("clean accuracy", f"accuracy under {front.points[0].robust.attack}")
    cells = [*front.points, *front.published]
    for cell, marker, number in _drawn(front):
        clean = cell.clean
        sides = [[clean.accuracy - clean.low], [clean.high - clean.accuracy]]
        colour, strength = GREY if _is_published(cell, front) else POINT_COLOUR, _strength(cell, front)
        axes.errorbar([clean.accuracy], [cell.robust.accuracy], xerr=sides, color=colour, alpha=strength, linewidth=0.8)
        _mark(axes, clean.accuracy, cell.robust, colour, marker, strength)
        _number(axes, (clean.accuracy, cell.robust.accuracy), number, beside=True)
    axes.set(ylim=_between(cell.robust for cell in cells), xlim=_between(cell.clean for cell in cells))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    add_legend(figure, [_dot(POINT_COLOUR, "found"), *_other_cells(front)])
    alt = "; ".join(f"{cell.name}: clean {percent(cell.clean.accuracy)}, robust {_said(cell)}" for cell in cells) + "."
    return make_picture("pareto-accuracies", "Clean and robust accuracy", _judged_on(front), alt, figure)


def _drawn(front: Front) -> Iterator[tuple[FrontCell, str, str]]:
    """Yield every cell with its marker and the number to write beside it."""
    for cell in front.points:
        yield cell, MARKERS[0], cell.name.lstrip("0") or "0" if len(front.points) <= MOST_NUMBERS else ""
    for index, cell in enumerate(front.published):
        yield cell, _marker(index), ""


def _marker(index: int) -> str:
    return MARKERS[1 + index % (len(MARKERS) - 1)]


def _is_published(cell: FrontCell, front: Front) -> bool:
    return cell in front.published


def _strength(cell: FrontCell, front: Front) -> float:
    return 1.0 if cell.on_front or _is_published(cell, front) else FADED


def _mark(axes: Axes, x: float, result: Accuracy, colour: str, marker: str, strength: float) -> None:
    """An accuracy up the axis with its interval."""
    sides = [[max(0.0, result.accuracy - result.low)], [max(0.0, result.high - result.accuracy)]]
    axes.errorbar(
        [x],
        [result.accuracy],
        yerr=sides,
        fmt=marker,
        color=colour,
        alpha=strength,
        markersize=5,
        capsize=2,
        linewidth=0.8,
        zorder=3,
    )


def _number(axes: Axes, at: tuple[float, float], number: str, *, beside: bool = False) -> None:
    """Write a number over a point, or beside it where bars cross in it."""
    offset, side = ((3, 3), "left") if beside else ((0, 2), "center")
    axes.annotate(number, at, offset, textcoords="offset points", ha=side, fontsize=7.5)


def _between(accuracies: Iterator[Accuracy]) -> tuple[float, float]:
    """Limits that hold all intervals and the numbers over them."""
    found = list(accuracies)
    low, high = min(result.low for result in found), max(result.high for result in found)
    return max(0.0, low - 0.03), min(TOP, high + 0.06)


def _other_cells(front: Front) -> Iterator[Line2D]:
    """Legend of what is not on the front."""
    if not all(cell.on_front for cell in front.points):
        yield _dot(GREY, "dominated", FADED)
    for index, cell in enumerate(front.published):
        yield Line2D([], [], linestyle="", marker=_marker(index), color=GREY, label=shortened_label(cell.name))


def _dot(colour: str, label: str, strength: float = 1.0) -> Line2D:
    return Line2D([], [], linestyle="", marker=MARKERS[0], color=colour, alpha=strength, label=label)


def _judged_on(front: Front) -> str:
    images = f"{front.points[0].clean.images:,}"
    where = (
        f"Each cell retrained, on {images} test images."
        if front.retrained
        else f"Each cell in the supernet, on {images} images that trained no weight and, since the search, no alpha."
    )
    return f"{where} Bars are 95 % Wilson intervals; numbers are those of the points."


def _said(cell: FrontCell) -> str:
    return f"{percent(cell.robust.accuracy)} ({interval_in_words(cell.robust)})"


def _in_words(cells: Sequence[FrontCell], label: str, size: Callable[[FrontCell], int]) -> str:
    return "; ".join(f"{cell.name}: {size(cell):,} {label}, robust {_said(cell)}" for cell in cells) + "."
