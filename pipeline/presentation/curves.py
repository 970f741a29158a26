"""Curves over the steps or epochs of a run, and the stairs of a Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.presentation.style import (
    COLOURS,
    OBJECTIVE_COLOURS,
    Picture,
    add_legend,
    make_axes,
    make_picture,
    shortened_label,
    whole_numbers,
)
from pipeline.presentation.words import named

MOST_POINTS = 160  # of a curve; more steps are averaged

Row = Mapping[str, Any]
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Positions and values."""


def averaged(steps: Sequence[float], values: Sequence[float]) -> Curve:
    """Reduce to at most MOST_POINTS points: means of as many neighbouring steps as that takes."""
    starts = bins(len(steps))
    counts = np.diff(np.append(starts, len(steps)))
    means = [np.add.reduceat(np.asarray(series, dtype=np.float64), starts) / counts for series in (steps, values)]
    return means[0], means[1]


def bins(steps: int) -> NDArray[np.intp]:
    """Find where each point's neighbouring steps start."""
    return np.arange(0, steps, -(-steps // MOST_POINTS))


def draw_curves(
    name: str, title: str, y_label: str, curves: Mapping[str, Curve], caption: str, *, x_label: str = "search step"
) -> Picture:
    """Curves from 0 up, named in a legend where there are several."""
    figure, axes = make_axes(x_label, y_label)
    for (label, curve), colour, style in zip(curves.items(), cycle(COLOURS), cycle(["-", "--", "-.", ":"])):
        if not len(curve[0]):
            continue
        marker = "o" if len(curve[0]) == 1 else None
        colour = OBJECTIVE_COLOURS.get(label, colour)
        axes.plot(*curve, color=colour, linestyle=style, marker=marker, markersize=4)
        axes.get_lines()[-1].set_label(shortened_label(named(label)))
    axes.set_ylim(bottom=0)
    whole_numbers(axes)
    if len(curves) > 1:
        add_legend(figure)
    return make_picture(name, title, caption, f"{title}: {_trends(curves)}.", figure)


def _trends(curves: Mapping[str, Curve]) -> str:
    return "; ".join(f"{label} from {y[0]:.3g} to {y[-1]:.3g}" for label, (_, y) in curves.items() if len(y))


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Find the (cost, gain) that no other point matches at less cost or more gain, by rising cost."""
    front: list[tuple[float, float]] = []
    for cost, gain in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or gain > front[-1][1]:
            front.append((cost, gain))
    return front
