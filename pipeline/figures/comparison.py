"""Figures of a comparison: size against robust accuracy of every cell, and the supernets' judgement against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from pipeline.figures.results import pareto_front
from pipeline.figures.style import (
    BLUE,
    GREEN,
    GREY,
    HEIGHT,
    STYLE,
    VERMILLION,
    WIDTH,
    Picture,
    add_legend,
    in_percent,
    make_axes,
    make_picture,
    shortened,
)
from pipeline.standings import PUBLISHED, RANDOM, SEARCHED, Standing, of_kind
from pipeline.wording import magnitude, percent

LOOKS: Mapping[str, tuple[str, str]] = {SEARCHED: (VERMILLION, "D"), RANDOM: (GREY, "o"), PUBLISHED: (BLUE, "s")}
"""Colour and marker of each kind of cell."""


@rc_context(STYLE)
def size_and_robustness_picture(standings: Sequence[Standing], attack: str, name: str) -> Picture:
    """Robust accuracy of every cell over its parameters and over its MACs; lines are means of a kind."""
    figure = Figure(figsize=(1.6 * WIDTH, HEIGHT), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, size, label in ((left, "parameters", "parameters"), (right, "macs", "MACs of one image")):
        _points(axes, standings, attack, size)
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: magnitude(value)))
        _front(axes, [s for s in standings if s.kind != PUBLISHED], attack, size)
    left.set_ylabel(f"accuracy under {attack}")
    in_percent(left)
    add_legend(figure)
    shown = "; ".join(f"{s.name} {percent(s.accuracy(attack))}, {s.parameters:,} parameters" for s in standings)
    caption = (
        "One point a cell, bars its deviation over retrainings. Dashed: means of searched and of random cells. Dotted: "
        "the front of both."
    )
    return make_picture(name, "Searched, random and published cells", caption, f"{shown}.", figure, is_wide=True)


@rc_context(STYLE)
def judgement_picture(standings: Sequence[Standing], attack: str, name: str) -> Picture:
    """Accuracy in the supernet with shared weights over accuracy after retraining."""
    judged = [s for s in standings if s.judgements and s.kind != PUBLISHED]
    figure, axes = make_axes("accuracy under attack in the supernet", f"retrained, under {attack}")
    for kind in (SEARCHED, RANDOM):
        cells, (colour, marker) = of_kind(judged, kind), LOOKS[kind]
        x, y = [s.judgement for s in cells], [s.accuracy(attack) for s in cells]
        axes.plot(x, y, marker, color=colour, markersize=5, label=kind)
    in_percent(axes)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    add_legend(figure)
    shown = "; ".join(f"{s.name} {percent(s.judgement)} and {percent(s.accuracy(attack))}" for s in judged)
    caption = "Does a supernet's judgement of a cell, with shared weights, foretell what retraining gives?"
    return make_picture(name, "Judgement and outcome", caption, f"In the supernet and retrained: {shown}.", figure)


def _points(axes: Axes, standings: Sequence[Standing], attack: str, size: str) -> None:
    for kind, (colour, marker) in LOOKS.items():
        cells = of_kind(standings, kind)
        if not cells:
            continue
        x, y = [getattr(s, size) for s in cells], [s.accuracy(attack) for s in cells]
        repeated = len(cells[0].accuracies[attack]) > 1
        spread = [s.deviation(attack) for s in cells] if repeated else None
        axes.errorbar(x, y, spread, fmt=marker, color=colour, markersize=5, capsize=2, linewidth=1, label=kind)
        if kind == PUBLISHED:
            for cell, at, accuracy in zip(cells, x, y, strict=True):
                text = shortened(cell.name)
                axes.annotate(text, (at, accuracy), (4, 3), textcoords="offset points", fontsize=6.5, color=colour)
        else:
            axes.axhline(sum(y) / len(y), color=colour, linestyle="--", linewidth=1, zorder=1)


def _front(axes: Axes, standings: Sequence[Standing], attack: str, size: str) -> None:
    front = pareto_front([(getattr(s, size), s.accuracy(attack)) for s in standings])
    if len(front) > 1:
        axes.step(*zip(*front, strict=True), where="post", color=GREEN, linestyle=":", linewidth=1.2, zorder=1)
