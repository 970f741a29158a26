"""Figures of collapse: what the derived cells hold, and how curved the validation loss is in alpha, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pipeline.presentation.curves import Row
from pipeline.presentation.style import (
    BLUE,
    GREY,
    STYLE,
    VERMILLION,
    Picture,
    add_legend,
    make_axes,
    make_picture,
    padded,
    whole_numbers,
)

Event = Mapping[str, int]
"""Of the guard: after which epoch it acted, and to which it went back."""


LEAST_EPOCHS = 4  # of a curve of eigenvalues: three say nothing of a trend


@rc_context(STYLE)
def collapse_pictures(rows: Sequence[Row], events: Sequence[Event]) -> list[Picture]:
    """Operations without weights over the epochs, and the largest eigenvalue where it was measured.

    rows: of metrics.jsonl; those that end an epoch hold its diagnostics.
    """
    ends = [row for row in rows if "diagnostics" in row]
    if not ends:
        return []
    is_measured = len(ends) >= LEAST_EPOCHS and all("eigenvalue" in row["diagnostics"] for row in ends)
    return [_weight_free(ends, events), *([_eigenvalues(ends, events)] if is_measured else [])]


def _weight_free(ends: Sequence[Row], events: Sequence[Event]) -> Picture:
    figure, axes = make_axes("epoch", "operations without weights")
    cells = list(ends[0]["diagnostics"]["weight_free"])
    trends = []
    for name, colour, style in zip(cells, (BLUE, VERMILLION), ("o-", "s--"), strict=False):
        counts = [row["diagnostics"]["weight_free"][name] for row in ends]
        axes.plot(_epochs(ends), counts, style, color=colour, markersize=3.5, label=f"{name} cell")
        trends.append(f"{name} cell from {counts[0]} to {counts[-1]}")
    axes.set_ylim(bottom=-0.2)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(axes, events)
    add_legend(figure)
    caption = (
        f"Edges of the derived cells that hold a skip or a pool. A cell of these alone has collapsed.{_said(events)}"
    )
    alt = f"Operations without weights: {', '.join(trends)}."
    return make_picture("search-weight-free", "Operations without weights", caption, alt, figure)


def _eigenvalues(ends: Sequence[Row], events: Sequence[Event]) -> Picture:
    values = [row["diagnostics"]["eigenvalue"]["value"] for row in ends]
    figure, axes = make_axes("epoch", "largest eigenvalue")
    axes.plot(_epochs(ends), values, "o-", color=BLUE, markersize=3.5)
    low, high = padded(values)
    axes.set_ylim(min(low, *values), high)
    _finish(axes, events)
    caption = (
        "Of the Hessian of the validation loss in alpha. Cells found where it rises lose most when they are derived "
        f"(Zela et al. 2020).{_said(events)}"
    )
    alt = f"Largest eigenvalue from {values[0]:.3g} to {values[-1]:.3g}, at most {max(values):.3g}."
    return make_picture("search-eigenvalue", "Curvature of the validation loss in alpha", caption, alt, figure)


def _epochs(ends: Sequence[Row]) -> list[int]:
    return [row["epoch"] + 1 for row in ends]


def _finish(axes: Axes, events: Sequence[Event]) -> None:
    for event in events:
        axes.axvline(event["back_to"], color=GREY, linestyle=":", linewidth=1.2)
    whole_numbers(axes)


def _said(events: Sequence[Event]) -> str:
    return " Dotted: the epochs that the guard went back to." if events else ""
