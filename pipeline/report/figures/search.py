"""Figures of the search: what it minimised, how it was balanced, and what it led to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mgda.registry import BALANCES
from on_demand import label
from pipeline.presentation.curves import MOST_POINTS, Curve, Row, averaged, bins, draw_curves
from pipeline.presentation.style import (
    GREY,
    OBJECTIVE_COLOURS,
    STYLE,
    Picture,
    add_legend,
    make_axes,
    make_picture,
    padded,
    whole_numbers,
)
from pipeline.presentation.words import bound_in_words, magnitude, named

WEIGHT_ROUNDING = 1e-6  # of weights that sum to 1


@rc_context(STYLE)
def search_pictures(rows: Sequence[Row], macs: str, balance: str | None = None) -> list[Picture]:
    """Draw what the search minimised, how it was balanced, and what it led to.

    macs: the convention that was bounded.  balance: objectives.balance.name, None where it is not known.
    """
    bounds = rows[0]["bounds"]
    sizes = (("parameters", "parameters"), ("macs", macs))
    return [
        _losses(rows),
        *([_violations(rows)] if bounds else []),
        _weights(rows, balance),
        _direction(rows, balance),
        *(_derived(rows, name, quantity, bounds.get(name, (None, None))) for name, quantity in sizes),
    ]


def _steps(rows: Sequence[Row]) -> list[int]:
    return [row["step"] for row in rows]


def _of_steps(rows: Sequence[Row], caption: str) -> str:
    width = -(-len(rows) // MOST_POINTS)
    return caption if width == 1 else f"{caption} Each point is the mean of {width} steps."


def _objectives(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Curve]:
    return {name: averaged(_steps(rows), [row["objectives"][name] for row in rows]) for name in names}


def _losses(rows: Sequence[Row]) -> Picture:
    curves = _objectives(rows, [name for name in rows[0]["objectives"] if name not in rows[0]["bounds"]])
    caption = "Cross entropy on the images that train the alphas: clean (accuracy) and attacked (robustness)."
    return draw_curves("search-losses", "Losses", "cross entropy", curves, _of_steps(rows, caption))


def _violations(rows: Sequence[Row]) -> Picture:
    curves = _objectives(rows, list(rows[0]["bounds"]))
    caption = "How far the derived network lies outside its bounds, as a part of the bound; 0 is inside."
    return draw_curves("search-violations", "Bound violations", "violation", curves, _of_steps(rows, caption))


def _direction(rows: Sequence[Row], balance: str | None) -> Picture:
    curves = {"norm": averaged(_steps(rows), [row["balance"]["norm"] for row in rows])}
    caption = "Of the direction that balances the active objectives, which the alphas move against."
    if balance == "mgda":
        caption = "Of the direction that lowers all active objectives; near 0 the alphas are Pareto-stationary."
    return draw_curves("search-direction", "Norm of the direction", "norm", curves, _of_steps(rows, caption))


def _weights(rows: Sequence[Row], balance: str | None) -> Picture:
    """Stacked; only MGDA's weights sum to 1 by themselves, those of others may be any."""
    names = list(rows[0]["objectives"])
    curves = {
        name: averaged(_steps(rows), [row["balance"]["weights"].get(name, 0.0) for row in rows]) for name in names
    }
    steps = next(iter(curves.values()))[0]
    figure, axes = make_axes("search step", "weight")
    shares = [curve[1] for curve in curves.values()]
    colours = [OBJECTIVE_COLOURS.get(name, GREY) for name in names]
    axes.stackplot(
        steps,
        *shares,
        labels=[named(name) for name in names],
        colors=colours,
        alpha=0.85,
        edgecolor="white",
        linewidth=0.4,
    )
    are_shares = all(abs(sum(row["balance"]["weights"].values()) - 1) < WEIGHT_ROUNDING for row in rows)
    axes.set(ylim=(0, 1 if are_shares else None), xlim=(steps[0], max(steps[-1], steps[0] + 1)))
    whole_numbers(axes)
    add_legend(figure)
    stacked = "they sum to 1" if are_shares else "each stands on those below it"
    caption = f"Of each objective in the direction; {stacked}. A bound that is kept has weight 0."
    means = {name: values.mean() for name, (_, values) in curves.items()}
    alt = "Mean weights: " + ", ".join(f"{name} {mean:.2f}" for name, mean in means.items()) + "."
    title = "Weights of the objectives" + (f" ({label(BALANCES, balance)})" if balance else "")
    return make_picture("search-weights", title, _of_steps(rows, caption), alt, figure)


def _derived(rows: Sequence[Row], name: str, quantity: str, bound: Sequence[float | None]) -> Picture:
    """Draw one size of the network that each step's alphas would give, over its bounds."""
    label = {"parameters": "parameters", "conv_linear_macs": "MACs", "thop_macs": "MACs (thop)"}[quantity]
    sizes = [row["derived"][quantity] for row in rows]
    figure, axes = make_axes("search step", label)
    if len(rows) <= MOST_POINTS:
        axes.step(_steps(rows), sizes, where="mid", color=OBJECTIVE_COLOURS[name], linewidth=1.2)
    else:
        _mean_and_range(axes, _steps(rows), sizes, OBJECTIVE_COLOURS[name])
    shown = [value for value in (*sizes, *bound) if value is not None]
    low, high = padded(shown)
    axes.set_ylim(low, high)
    is_bounded = any(side is not None for side in bound)
    shaded = " (shaded)" if is_bounded else ""
    if is_bounded:
        lower, upper = (default if side is None else side for side, default in zip(bound, (low, high), strict=True))
        axes.axhspan(lower, upper, color=GREY, alpha=0.16, linewidth=0)
        for side in bound:
            if side is not None:
                axes.axhline(side, color=GREY, linestyle="--", linewidth=1)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: magnitude(value)))
    whole_numbers(axes)
    caption = f"Of the network that the alphas of each step would give. Bound: {bound_in_words(bound)}{shaded}."
    if len(rows) > MOST_POINTS:
        caption = _of_steps(rows, caption) + " The coloured area holds the smallest and largest of them."
    alt = f"Derived {label} from {sizes[0]:,} to {sizes[-1]:,}, between {min(sizes):,} and {max(sizes):,} on the way."
    return make_picture(f"search-{name}", f"Derived {label}", caption, alt, figure)


def _mean_and_range(axes: Axes, steps: Sequence[int], values: Sequence[float], colour: str) -> None:
    positions, means = averaged(steps, values)
    low, high = (extreme.reduceat(np.asarray(values), bins(len(values))) for extreme in (np.minimum, np.maximum))
    axes.fill_between(positions, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(positions, means, color=colour)
