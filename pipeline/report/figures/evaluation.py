"""Figures of what evaluation measures beside its attacks: radii, corruptions, and how attacks transfer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from pipeline.evaluation.accuracy import CLEAN, Accuracy
from pipeline.evaluation.stored_transfer import Transfer
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
    shortened,
    whole_numbers,
)
from pipeline.presentation.words import percent, printable, protocol_in_words

CELL = 0.62  # inches of a cell of the matrix, which is written in
SHORT = 30  # letters of all names together that fit beside one another
DARK = 0.55  # accuracies above it are written in white on their colour


@rc_context(STYLE)
def sweep_picture(sweeps: Mapping[str, Sequence[Accuracy]], clean: Mapping[str, Accuracy]) -> Picture:
    """Accuracy of each run over the radius of each attack, from the clean images on.

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
        _curve(axes, points, index, ", ".join(map(shortened, names)))
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
    """Accuracy of one run over the severity of each corruption, from the clean images on."""
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


@rc_context(STYLE)
def transfer_picture(transfer: Transfer, name: str = "transfer") -> Picture:
    """Accuracy of each network on images attacked on each, as a matrix."""
    names = [model.name for model in transfer.models]
    found = {(row.made_on, row.tried_on): row.accuracy for row in transfer.rows}
    rows = [(made_on, [found[made_on, other] for other in names]) for made_on in names]
    rows.append((CLEAN, [row.accuracy for row in transfer.clean]))
    figure, axes = make_axes("tried on", "made on", height=CELL * len(rows) + 1.1)
    values = np.array([row for _, row in rows])
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        weight = "bold" if row == column else "normal"
        colour = "white" if value > DARK else "black"
        axes.annotate(f"{100 * value:.1f}", (column, row), ha="center", va="center", color=colour, weight=weight)
    short = sum(map(len, names)) < SHORT
    axes.set_xticks(
        range(len(names)), list(map(shortened, names)), rotation=0 if short else 25, ha="center" if short else "right"
    )
    axes.set_yticks(range(len(rows)), [shortened(made_on) for made_on, _ in rows])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    caption = (
        f"Accuracy in % on images attacked with {transfer.attack['name']} on one network (row) and tried on another "
        f"(column). Bold: on itself. {protocol_in_words(transfer.settings, transfer.rows[0].images)}."
    )
    alt = "; ".join(
        f"made on {made_on}: " + ", ".join(f"{other} {percent(value)}" for other, value in zip(names, row, strict=True))
        for made_on, row in rows
    )
    return make_picture(name, "How attacks transfer", caption, alt + ".", figure)


def _curve(axes: Axes, points: Sequence[tuple[float, Accuracy]], index: int, label: str) -> None:
    """Accuracies over x with their intervals."""
    x, rows = zip(*points, strict=True)
    colour = COLOURS[index % len(COLOURS)]
    axes.plot(
        x, [row.accuracy for row in rows], MARKERS[index % len(MARKERS)] + "-", color=colour, markersize=4, label=label
    )
    axes.fill_between(x, [row.low for row in rows], [row.high for row in rows], color=colour, alpha=0.12, linewidth=0)
