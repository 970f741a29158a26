"""Figures of what evaluation measures beside its attacks: radii, corruptions, and how attacks transfer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from matplotlib import rc_context
from matplotlib.axes import Axes

from pipeline.evaluation.accuracy import Accuracy
from pipeline.presentation.style import (
    COLOURS,
    MARKERS,
    STYLE,
    TOP,
    Picture,
    add_legend,
    in_percent,
    make_axes,
    make_picture,
    shortened_label,
    whole_numbers,
)
from pipeline.presentation.words import percent, printable


@rc_context(STYLE)
def sweep_picture(sweeps: Mapping[str, Sequence[Accuracy]], clean: Mapping[str, Accuracy]) -> Picture:
    """Draw the accuracy of each run over the radius of each attack, from the clean images on.

    Drawn are radii in the norm of the first; the caption names the runs that were measured in another.
    """
    norm = next(row for rows in sweeps.values() for row in rows).settings["norm"]
    curves: dict[tuple[str, str], list[Accuracy]] = {}
    for label, row in ((label, row) for label, rows in sweeps.items() for row in rows):
        if row.settings["norm"] == norm:
            curves.setdefault((label, row.attack), []).append(row)
    attacks = list(dict.fromkeys(attack for _, attack in curves))
    figure, axes = make_axes(f"radius in {norm}", "accuracy")
    words = []
    for (label, attack), rows in curves.items():
        points = [(0.0, clean[label]), *((float(row.settings["eps"]), row) for row in rows)]
        index = list(sweeps).index(label) + len(sweeps) * attacks.index(attack)  # a run's own colour under the first
        names = (label,) if len(attacks) == 1 else (label, attack)
        _curve(axes, points, index, ", ".join(map(shortened_label, names)))
        words.append(
            f"{', '.join(names)}: " + ", ".join(f"{radius:.3g} {percent(row.accuracy)}" for radius, row in points)
        )
    axes.set(ylim=(0, TOP))
    axes.set_xlim(left=0)
    in_percent(axes)
    add_legend(figure)
    caption = f"Test images right under {', '.join(attacks)}, by its radius; bands are 95 % Wilson intervals."
    others = [label for label, rows in sweeps.items() if any(row.settings["norm"] != norm for row in rows)]
    if others:
        caption += f" Measured in another norm, and not drawn: {printable(', '.join(others))}."
    return make_picture("sweep", "Accuracy against the radius", caption, "; ".join(words) + ".", figure)


@rc_context(STYLE)
def corruption_picture(rows: Sequence[Accuracy], clean: Accuracy) -> Picture:
    """Draw the accuracy of one run over the severity of each corruption, from the clean images on."""
    figure, axes = make_axes("severity", "accuracy")
    words = []
    for index, (name, group) in enumerate(groupby(rows, key=lambda row: str(row.settings["corruption"]))):
        points = [(0.0, clean), *((float(row.settings["severity"]), row) for row in group)]
        _curve(axes, points, index, name.replace("_", " "))
        words.append(f"{name}: " + ", ".join(percent(row.accuracy) for _, row in points))
    axes.set(ylim=(0, TOP))
    whole_numbers(axes)
    in_percent(axes)
    add_legend(figure)
    caption = (
        "Test images right after common corruptions, of severity 1 to 5 as in CIFAR-10-C; 0 is clean. Bands are 95 % "
        "Wilson intervals."
    )
    return make_picture("corruptions", "Common corruptions", caption, "; ".join(words) + ".", figure)


def _curve(axes: Axes, points: Sequence[tuple[float, Accuracy]], index: int, label: str) -> None:
    """Accuracies over x with their intervals."""
    x, rows = zip(*points, strict=True)
    colour = COLOURS[index % len(COLOURS)]
    axes.plot(
        x, [row.accuracy for row in rows], MARKERS[index % len(MARKERS)] + "-", color=colour, markersize=4, label=label
    )
    axes.fill_between(x, [row.low for row in rows], [row.high for row in rows], color=colour, alpha=0.12, linewidth=0)
