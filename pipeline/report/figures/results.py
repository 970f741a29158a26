"""Figures of what was measured: accuracies under attack, and size against accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.evaluation.accuracy import CLEAN, Accuracy, interval_in_words
from pipeline.presentation.curves import pareto_front
from pipeline.presentation.style import (
    COLOURS,
    GREY,
    MARKERS,
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

MOST_LABELS = 10  # points that get their value written beside them


@rc_context(STYLE)
def accuracy_picture(results: Mapping[str, Sequence[Accuracy]]) -> Picture:
    """Draw the accuracy of each run, clean and under each attack, with intervals."""
    attacks = list(dict.fromkeys(result.attack for accuracies in results.values() for result in accuracies))
    labelled = len(attacks) * len(results) <= MOST_LABELS
    figure, axes = make_axes("", "accuracy")
    for index, (label, accuracies) in enumerate(results.items()):
        if not accuracies:
            continue
        shift = (index - (len(results) - 1) / 2) * 0.7 / len(results)
        x = [attacks.index(result.attack) + shift for result in accuracies]
        _points(axes, x, accuracies, index, label=shortened_label(label))
        for position, result in zip(x, accuracies, strict=True) if labelled else ():
            text = f"{100 * result.accuracy:.1f}"
            axes.annotate(text, (position, result.high), (0, 3), textcoords="offset points", ha="center", fontsize=7.5)
    crowded = len(attacks) > 5
    axes.set_xticks(range(len(attacks)), attacks, rotation=35 if crowded else 0, ha="right" if crowded else "center")
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    measured = [result for accuracies in results.values() for result in accuracies]
    axes.set(ylim=(_floor(measured), TOP), xlim=(-0.5, len(attacks) - 0.5))
    in_percent(axes)
    add_legend(figure)
    caption = "Test images classified right, of all that were tried; bars are 95 % Wilson intervals."
    return make_picture("accuracy", "Accuracy, clean and under attack", caption, _in_words(results), figure)


@rc_context(STYLE)
def size_picture(
    results: Mapping[str, Sequence[Accuracy]], sizes: Mapping[str, int], attack: str, unit: str = "parameters"
) -> Picture:
    """Draw a size of every measured run against its clean and robust accuracy, with the front of three runs or more."""
    figure, axes = make_axes(unit, "accuracy")
    robust = {label: _under(attack, accuracies) for label, accuracies in results.items() if accuracies}
    for index, (label, accuracies) in enumerate(results.items()):
        if not accuracies:
            continue
        pair = [(_under(CLEAN, accuracies), False), (robust[label], True)]
        for result, filled in pair if attack != CLEAN else pair[1:]:
            _points(axes, [sizes[label]], [result], index, filled=filled)
    front = pareto_front([(sizes[label], result.accuracy) for label, result in robust.items()])
    has_front = len(robust) > 2 and len(front) > 1  # two points are no front
    if has_front:
        axes.step(*zip(*front, strict=True), where="post", color=GREY, linestyle=":", linewidth=1.2, zorder=1)
    shown = [result for accuracies in results.values() for result in accuracies if result.attack in (CLEAN, attack)]
    axes.set(ylim=(_floor(shown), TOP), xlim=padded(list(sizes.values())))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: magnitude(value)))
    in_percent(axes)
    add_legend(figure, _size_legend(results, attack, has_front=has_front))
    counts = "; ".join(f"{label}: {count:,} {unit}" for label, count in sizes.items())
    caption = f"Every run that was measured. Clean accuracy is hollow, accuracy under {attack} is filled."
    if has_front:
        caption += " Dotted: the Pareto front, runs that no other beats in both."
    alt = f"{counts}. {_in_words({label: [result] for label, result in robust.items()})}"
    name = "size" if unit == "parameters" else f"size-{unit.lower()}"
    return make_picture(name, f"{unit[0].upper()}{unit[1:]} against accuracy", caption, alt, figure)


def _floor(results: Sequence[Accuracy]) -> float:
    """Return where an axis of accuracies begins: a tenth below all intervals, or 0 where little would be left out."""
    least = math.floor(10 * min(result.low for result in results)) / 10 - 0.1
    return least if least > 0.2 else 0.0


def _points(
    axes: Axes, x: Sequence[float], results: Sequence[Accuracy], index: int, *, filled: bool = True, label: str = ""
) -> None:
    """Accuracies of one run with their intervals, in its colour and shape."""
    colour = COLOURS[index % len(COLOURS)]
    y = np.array([result.accuracy for result in results])
    spread = [y - [result.low for result in results], [result.high for result in results] - y]
    axes.errorbar(
        x,
        y,
        yerr=np.maximum(spread, 0),
        fmt=MARKERS[index % len(MARKERS)],
        color=colour,
        markerfacecolor=colour if filled else "white",
        markersize=5,
        capsize=2.5,
        linewidth=1.2,
        label=label or "_",
    )


def _under(attack: str, accuracies: Sequence[Accuracy]) -> Accuracy:
    return next(result for result in accuracies if result.attack == attack)


def _in_words(results: Mapping[str, Sequence[Accuracy]]) -> str:
    def said(result: Accuracy) -> str:
        return f"{result.attack} {percent(result.accuracy)} ({interval_in_words(result)})"

    return "; ".join(f"{label}: {', '.join(map(said, given))}" for label, given in results.items() if given) + "."


def _size_legend(results: Mapping[str, Sequence[Accuracy]], attack: str, *, has_front: bool) -> Iterator[Line2D]:
    for index, label in enumerate(results):
        if not results[label]:
            continue
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        yield Line2D([], [], linestyle="", marker=marker, color=colour, markersize=5, label=shortened_label(label))
    if attack != CLEAN:
        yield Line2D([], [], linestyle="", marker="o", color=GREY, markerfacecolor="white", label="clean")
    yield Line2D([], [], linestyle="", marker="o", color=GREY, label=attack)
    if has_front:
        yield Line2D([], [], linestyle=":", color=GREY, label="front")
