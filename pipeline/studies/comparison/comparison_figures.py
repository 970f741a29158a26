"""Figures of a comparison: size against robust accuracy of every cell, and the supernets' judgement against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from pipeline.presentation.curves import pareto_front
from pipeline.presentation.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    HEIGHT,
    ORANGE,
    PURPLE,
    STYLE,
    VERMILLION,
    WIDTH,
    Picture,
    add_legend,
    in_percent,
    make_axes,
    make_picture,
    padded,
    shortened_label,
)
from pipeline.presentation.words import magnitude, percent
from pipeline.studies.comparison.comparison_statistics import (
    CONTROL,
    OF_THE_SPACE,
    PREDICTOR,
    PUBLISHED_KIND,
    RANDOM,
    RANDOM_SEARCH,
    SEARCHED,
    CellResult,
    of_kind,
)

LOOKS: Mapping[str, tuple[str, str]] = {
    SEARCHED: (VERMILLION, "D"),
    PREDICTOR: (PURPLE, "s"),
    RANDOM_SEARCH: (ORANGE, "^"),
    RANDOM: (GREY, "o"),
}
"""Colour and marker of each kind of the space; published cells are blue, each with its own marker, a ResNet black."""
PUBLISHED_MARKERS = "svPX*<>hp8d"


@rc_context(STYLE)
def size_and_robustness_picture(standings: Sequence[CellResult], attack: str, name: str) -> Picture:
    """Robust accuracy of every cell over its parameters and over its MACs; lines are means and the random cells' front.

    A cell from elsewhere whose size is far from all others' stands at the edge, beside its size.
    """
    figure = Figure(figsize=(1.6 * WIDTH, HEIGHT), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, size, label in ((left, "parameters", "parameters"), (right, "macs", "MACs of one image")):
        axes.set_xlim(_limits(standings, size))
        _points(axes, standings, attack, size)
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: magnitude(value)))
        _front(axes, of_kind(standings, RANDOM), attack, size)
    left.set_ylabel(f"accuracy under {attack}")
    in_percent(left)
    looks = _looks(standings)
    add_legend(figure, [Line2D([], [], color=c, marker=m, linestyle="", label=label) for label, c, m, _ in looks])
    shown = "; ".join(f"{s.name} {percent(s.accuracy(attack))}, {s.parameters:,} parameters" for s in standings)
    caption = (
        "One point a cell, bars its deviation over retrainings. Dashed: the mean of a kind. Dotted: the front of the "
        "random cells; no random cell beats what lies above it or left of it."
    )
    return make_picture(name, "Searched, random and published cells", caption, f"{shown}.", figure, is_wide=True)


@rc_context(STYLE)
def judgement_picture(standings: Sequence[CellResult], attack: str, name: str) -> Picture:
    """Draw the accuracy in the supernet with shared weights over accuracy after retraining."""
    judged = [s for s in standings if s.judgements and s.kind in OF_THE_SPACE]
    figure, axes = make_axes("accuracy under attack in the supernet", f"retrained, under {attack}")
    for label, colour, marker, cells in _looks(judged):
        x, y = [s.judgement for s in cells], [s.accuracy(attack) for s in cells]
        axes.plot(x, y, marker, color=colour, markersize=5, label=label)
    in_percent(axes)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    add_legend(figure)
    shown = "; ".join(f"{s.name} {percent(s.judgement)} and {percent(s.accuracy(attack))}" for s in judged)
    caption = "Does a supernet's judgement of a cell, with shared weights, foretell what retraining gives?"
    return make_picture(name, "Judgement and outcome", caption, f"In the supernet and retrained: {shown}.", figure)


def _looks(standings: Sequence[CellResult]) -> Iterator[tuple[str, str, str, list[CellResult]]]:
    """Label, colour, marker and cells of each kind that is there, and of each cell from elsewhere."""
    for kind, (colour, marker) in LOOKS.items():
        if cells := of_kind(standings, kind):
            yield kind, colour, marker, cells
    for index, cell in enumerate(of_kind(standings, PUBLISHED_KIND)):
        yield shortened_label(cell.name), BLUE, PUBLISHED_MARKERS[index % len(PUBLISHED_MARKERS)], [cell]
    for cell in of_kind(standings, CONTROL):
        yield f"{cell.name}, {cell.kind}", BLACK, "x", [cell]


def _limits(standings: Sequence[CellResult], size: str) -> tuple[float, float]:
    """Limit the axis of a size to cells of the space, and others no further from these than they are apart."""
    own = [getattr(s, size) for s in standings if s.kind in OF_THE_SPACE]
    apart = max(own) - min(own)
    others = [getattr(s, size) for s in standings if s.kind not in OF_THE_SPACE]
    return padded([*own, *(value for value in others if min(own) - apart <= value <= max(own) + apart)])


def _points(axes: Axes, standings: Sequence[CellResult], attack: str, size: str) -> None:
    low, high = axes.get_xlim()
    for _, colour, marker, cells in _looks(standings):
        sizes, y = [getattr(s, size) for s in cells], [s.accuracy(attack) for s in cells]
        x = [min(max(value, low), high) for value in sizes]
        repeated = len(cells[0].accuracies[attack]) > 1
        spread = [s.deviation(attack) for s in cells] if repeated else None
        bars = axes.errorbar(x, y, spread, fmt=marker, color=colour, markersize=5, capsize=2, linewidth=1)
        for part in bars.get_children():
            part.set_clip_on(False)
        for value, at, accuracy in zip(sizes, x, y, strict=True):
            if value != at:
                is_larger = value > high
                axes.annotate(
                    f"{magnitude(value)} →" if is_larger else f"← {magnitude(value)}",
                    (at, accuracy),
                    (-6 if is_larger else 6, 0),
                    textcoords="offset points",
                    va="center",
                    ha="right" if is_larger else "left",
                    fontsize=7,
                    color=colour,
                )
        if cells[0].kind in OF_THE_SPACE:
            axes.axhline(sum(y) / len(y), color=colour, linestyle="--", linewidth=1, zorder=1)


def _front(axes: Axes, standings: Sequence[CellResult], attack: str, size: str) -> None:
    """Draw the front from the bottom, up the steps of the front, to the right edge."""
    front = pareto_front([(getattr(s, size), s.accuracy(attack)) for s in standings])
    bottom, right = axes.get_ylim()[0], axes.get_xlim()[1]
    corners = [(front[0][0], bottom), *front, (right, front[-1][1])]
    axes.step(*zip(*corners, strict=True), where="post", color=GREEN, linestyle=":", linewidth=1.2, zorder=1)
    axes.set_ylim(bottom=bottom)
