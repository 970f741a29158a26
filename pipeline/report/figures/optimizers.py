"""Figures of the analysis of an optimizer: its modes, its update, its rate, and the states that it goes through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle

import numpy as np
from matplotlib import rc_context
from matplotlib.patches import Circle
from matplotlib.ticker import NullFormatter

from learned_optimizers.analysis.verdicts import number
from pipeline.presentation.style import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    ORANGE,
    STYLE,
    VERMILLION,
    Picture,
    add_legend,
    make_axes,
    make_picture,
    whole_numbers,
)
from pipeline.studies.optimizer_analysis.analysis_file import AnalysisFile, StoredMode, StoredStates

TALL = 3.4  # inches
WEAKEST = 0.02  # of the strongest mode, of those that are drawn


@rc_context(STYLE)
def analysis_pictures(found: AnalysisFile) -> list[Picture]:
    """Draw all figures of an analysis."""
    return list(_pictures(found))


def _pictures(found: AnalysisFile) -> Iterator[Picture]:
    yield _losses(found)
    yield _eigenvalues(found)
    yield _step_sizes(found)
    yield _clipping(found)
    yield _schedule(found)
    yield _adaptation(found)
    yield _updates(found)
    if found.states is not None:
        yield _states(found.states)


def _losses(found: AnalysisFile) -> Picture:
    figure, axes = make_axes("step", "loss over that of the start")
    axes.plot(range(len(found.losses)), found.losses, color=BLUE)
    axes.axhline(found.sgd[1], color=GREY, linestyle="--", linewidth=1.2, label="SGD's mean, best rate")
    axes.axhline(found.relative_loss, color=BLUE, linestyle=":", linewidth=1.2, label="its mean")
    axes.set_yscale("log")
    whole_numbers(axes)
    add_legend(figure)
    caption = (
        f"Mean over {found.trainings} trainings. Over all steps it is {found.relative_loss:.3g}, that of plain SGD at "
        f"its best rate on the same tasks ({found.sgd[0]:.3g}) {found.sgd[1]:.3g}."
    )
    return make_picture("optimizer-losses", "How it trains", caption, caption, figure)


def _drawn(found: AnalysisFile) -> list[StoredMode]:
    modes = found.momentum.modes
    return [mode for mode in modes if mode.strength >= WEAKEST * modes[0].strength]


def _eigenvalues(found: AnalysisFile) -> Picture:
    figure, axes = make_axes("real part of the decay", "imaginary part", height=TALL)
    axes.add_patch(Circle((0, 0), 1, fill=False, color=GREY, linewidth=1))
    shown = _drawn(found)
    for mode in shown:
        size = 3 + 6 * (mode.strength / shown[0].strength) ** 0.5
        axes.plot(*mode.decay, "o", color=BLUE, markersize=size, alpha=0.75, markeredgewidth=0)
    if found.momentum.optimum is not None:
        axes.plot(*found.momentum.optimum.decay, "x", color=VERMILLION, label="fastest heavy ball")
        add_legend(figure)
    axes.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal")
    caption = (
        f"Eigenvalues of the state's Jacobian where it settles, of modes with at least {WEAKEST:.0%} of the strongest "
        "one's strength, larger for stronger ones; on the unit circle nothing decays."
    )
    said = "; ".join(number(complex(*mode.decay)) for mode in shown)
    return make_picture("optimizer-eigenvalues", "Momentum: how fast it forgets", caption, f"Decays: {said}.", figure)


def _step_sizes(found: AnalysisFile) -> Picture:
    figure, axes = make_axes("decay a step, size of the eigenvalue", "step size of the mode")
    shown = _drawn(found)
    for mode in shown:
        decay, step_size = complex(*mode.decay), complex(*mode.step_size)
        marker, colour = ("o", BLUE) if step_size.real > 0 else ("v", ORANGE)
        axes.plot([abs(decay)], [abs(step_size)], marker, color=colour, markersize=6, alpha=0.75, markeredgewidth=0)
    if found.momentum.optimum is not None:
        optimum = found.momentum.optimum
        axes.plot([optimum.decay[0]], [optimum.step_size[0]], "x", color=VERMILLION, label="fastest heavy ball")
        add_legend(figure)
    axes.set_yscale("log")
    axes.set_xlim(-0.05, 1.05)
    caption = (
        "Each mode subtracts its step size times a gradient at once, and that times its decay in each later step; "
        "triangles step uphill. A mode of decay 0 is plain gradient descent."
    )
    said = "; ".join(f"decay {number(complex(*m.decay))}, step size {number(complex(*m.step_size))}" for m in shown)
    return make_picture("optimizer-modes", "Momentum: how far its modes step", caption, f"{said}.", figure)


def _clipping(found: AnalysisFile) -> Picture:
    clip = found.clipping
    figure, axes = make_axes("size of the gradient", "size of the update")
    middle = len(clip.gradients) // 2
    for side, colour, label in ((1, BLUE, "gradient above 0"), (-1, GREEN, "gradient below 0")):
        sizes = np.abs(clip.gradients[middle + side :: side] if side == 1 else clip.gradients[middle - 1 :: -1])
        updates = np.abs(clip.updates[middle + side :: side] if side == 1 else clip.updates[middle - 1 :: -1])
        axes.plot(sizes, updates, color=colour, linestyle="-" if side == 1 else "--", label=label)
    axes.plot(sizes, abs(clip.slope) * sizes, color=GREY, linestyle=":", label="without saturation")
    axes.set(xscale="log", yscale="log")
    low = 0.3 * np.abs([update for update in clip.updates if update]).min(initial=1e300)
    axes.set_ylim(low if low < 1e299 else None, 5 * max(map(abs, clip.updates)) or None)
    density = axes.twinx()
    density.stairs(clip.counts, clip.bins, fill=True, color=ORANGE, alpha=0.35)
    density.set_ylim(0, 3 * max(clip.counts))
    density.set_yticks([])
    density.grid(visible=False)
    density.spines["right"].set_visible(False)
    axes.set_zorder(1)  # above the other axes
    axes.patch.set_visible(False)
    add_legend(figure)
    knee = "" if clip.knee is None else f", its level that of a gradient of {clip.knee:.3g} without saturation"
    caption = (
        f"Update against gradient for the state in which it settles{knee}. Orange: how often gradients of a size were "
        f"met; {clip.beyond:.1%} of them lie beyond."
    )
    return make_picture("optimizer-clipping", "Gradient clipping", caption, caption, figure)


def _schedule(found: AnalysisFile) -> Picture:
    figure, axes = make_axes("step", "effective rate")
    axes.plot(range(len(found.rates)), found.rates, color=BLUE)
    axes.set_ylim(min(0.0, 1.1 * min(found.rates)), max(0.0, 1.15 * max(found.rates)) or None)
    whole_numbers(axes)
    caption = "Slope of the update in the gradient, from the first step on, while all gradients are zero."
    alt = f"Rate {found.rates[0]:.3g} at the first step, {found.rates[-1]:.3g} at the last."
    return make_picture("optimizer-schedule", "Learning rate schedule", caption, alt, figure)


def _adaptation(found: AnalysisFile) -> Picture:
    adapted = found.adaptation
    figure, axes = make_axes("size of the gradients so far", "rate")
    axes.plot(adapted.sizes, np.abs(adapted.slopes), "o-", color=BLUE, markersize=3.5, label="slope at gradient 0")
    axes.plot(adapted.sizes, np.abs(adapted.gains), "--", color=VERMILLION, label="update over gradient")
    axes.set(xscale="log", yscale="log")
    values = np.abs([*adapted.slopes, *adapted.gains])
    if values.max() < 10 * values[values > 0].min(initial=values.max()):
        axes.set_ylim(values.max() / 30, values.max() * 3)
    axes.yaxis.set_minor_formatter(NullFormatter())
    add_legend(figure)
    caption = (
        "Slope of the update for the state that settles under constant gradients of a size, and the whole update over "
        "that gradient. Where the slope falls, large gradients of the past lower the rate."
    )
    ends = zip((adapted.slopes[0], adapted.slopes[-1]), (adapted.sizes[0], adapted.sizes[-1]), strict=True)
    alt = f"Slope {', '.join(f'{slope:.3g} at {size:.3g}' for slope, size in ends)}."
    return make_picture("optimizer-adaptation", "Learning rate adaptation", caption, alt, figure)


def _updates(found: AnalysisFile) -> Picture:
    figure, axes = make_axes("gradient", "what is subtracted")
    for each, colour in zip(found.updates, cycle(COLOURS)):
        axes.plot(each.gradients, each.updates, color=colour, label=f"step {each.step}")
    gradients = np.asarray(found.updates[0].gradients)
    axes.plot(gradients, found.sgd[0] * gradients, color=GREY, linestyle=":", label="SGD, best rate")
    axes.set_ylim(*_limits([update for each in found.updates for update in each.updates]))
    add_legend(figure)
    caption = (
        "Update against gradient for the states that one element, that of the largest gradients, has at several "
        "moments of a training. Momentum shifts the line, a schedule and adaptation turn it, clipping bends it."
    )
    alt = f"Traced after {', '.join(str(each.step) for each in found.updates)} steps."
    return make_picture("optimizer-updates", "The update at several moments", caption, alt, figure)


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.15 * (high - low) or 1.0
    return low - room, high + room


def _states(states: StoredStates) -> Picture:
    first, second = (f"{share:.1%}" for share in states.shares)
    figure, axes = make_axes(f"first direction ({first})", f"second direction ({second})", height=TALL)
    for trajectory, colour in zip(states.trajectories, cycle(COLOURS)):
        points = np.asarray(trajectory)
        axes.plot(points[:, 0], points[:, 1], color=colour, linewidth=1, alpha=0.8)
        axes.plot(*points[-1], "o", color=colour, markersize=4)
    axes.plot(*states.trajectories[0][0], "s", color=GREY, markersize=6, linestyle="none", label="start")
    axes.plot(*states.settled, "x", color=VERMILLION, markersize=9, linestyle="none", label="fixed point")
    add_legend(figure)
    caption = (
        "States of some elements through their trainings, on the two directions in which all states met vary most, "
        "with the share of the variance; a dot is where a training ended."
    )
    alt = f"The two directions hold {first} and {second} of the variance."
    return make_picture("optimizer-states", "States met", caption, alt, figure)
