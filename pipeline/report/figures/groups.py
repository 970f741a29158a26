"""Figures of many runs: size against accuracy of every group of runs, with its spread over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.evaluation.accuracy import CLEAN
from pipeline.presentation.curves import pareto_front
from pipeline.presentation.style import (
    COLOURS,
    GREY,
    MARKERS,
    STYLE,
    Picture,
    add_legend,
    in_percent,
    make_axes,
    make_picture,
    padded,
    shortened_label,
)
from pipeline.presentation.words import magnitude, named, percent
from pipeline.report.sweeps.seed_groups import SIZES, Group

FAINT = 0.6  # of a single run


@rc_context(STYLE)
def group_pictures(groups: Sequence[Group], attack: str) -> list[Picture]:
    """Draw parameters and MACs against accuracy under an attack that all groups met (`clean` where there is none).

    No pictures where no network's size could be counted.
    """
    return [_size_and_accuracy(groups, attack, size) for size in SIZES if any(group.size(size) for group in groups)]


def _size_and_accuracy(groups: Sequence[Group], attack: str, size: str) -> Picture:
    figure, axes = make_axes(named(size), "clean accuracy" if attack == CLEAN else f"accuracy under {attack}")
    means, ends, words = [], [], []
    for index, group in enumerate(groups):
        sizes, accuracies = group.size(size), group.accuracy(attack)
        if sizes is None or accuracies is None:
            continue
        _mark(axes, group, attack, size, index)
        means.append((sizes.mean, accuracies.mean))
        ends += [(sizes.low, accuracies.low), (sizes.high, accuracies.high)]
        words.append(f"{group.name}: {sizes.mean:,.0f} {named(size)}, {percent(accuracies.mean)}")
    front = pareto_front(means)
    has_front = len(means) > 2 and len(front) > 1  # two points are no front
    if has_front:
        axes.step(*zip(*front, strict=True), where="post", color=GREY, linestyle=":", linewidth=1.2, zorder=1)
    low, high = padded([end[1] for end in ends])
    axes.set(xlim=padded([end[0] for end in ends]), ylim=(low, min(high, 1.0)))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: magnitude(value)))
    in_percent(axes)
    add_legend(figure, _legend(groups, has_front=has_front))
    caption = "Large: mean over the seeds, with the sample deviation of the accuracy. Small: single runs."
    if has_front:
        caption += " Dotted: the Pareto front of the means."
    title = f"{'Parameters' if size == 'parameters' else 'MACs'} against accuracy"
    return make_picture(f"groups-{size}", title, caption, f"{'; '.join(words)}.", figure)


def _mark(axes: Axes, group: Group, attack: str, size: str, index: int) -> None:
    colour, marker = look(index)
    runs = [run for run in group.runs.values() if run.cost]
    for run in runs if len(runs) > 1 else ():
        for result in (result for result in run.accuracies if result.attack == attack):
            x = (run.cost or {})[SIZES[size]]
            axes.plot([x], [result.accuracy], marker, color=colour, markersize=4, alpha=FAINT, markeredgewidth=0)
    sizes, accuracies = group.size(size), group.accuracy(attack)
    if sizes and accuracies:
        bar = None if accuracies.count == 1 else accuracies.deviation
        axes.errorbar([sizes.mean], [accuracies.mean], bar, fmt=marker, color=colour, markersize=6, capsize=2.5)


def look(index: int) -> tuple[str, str]:
    """Colour and marker of a group; the first 49 differ."""
    return COLOURS[(index + index // len(MARKERS)) % len(COLOURS)], MARKERS[index % len(MARKERS)]


def _legend(groups: Sequence[Group], *, has_front: bool) -> Iterator[Line2D]:
    for index, group in enumerate(groups):
        colour, marker = look(index)
        yield Line2D([], [], linestyle="", marker=marker, color=colour, label=shortened_label(group.name))
    if has_front:
        yield Line2D([], [], linestyle=":", color=GREY, label="front")
