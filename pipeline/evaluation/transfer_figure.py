"""The figure of how attacks transfer: a matrix of networks."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context

from pipeline.evaluation.accuracy import CLEAN
from pipeline.evaluation.stored_evaluation import protocol_in_words
from pipeline.evaluation.stored_transfer import Transfer
from pipeline.presentation.style import STYLE, Picture, make_axes, make_picture, shortened_label
from pipeline.presentation.words import percent

CELL = 0.62  # inches of a cell of the matrix, which is written in
SHORT = 30  # letters of all names together that fit beside one another
DARK = 0.55  # accuracies above it are written in white on their colour


@rc_context(STYLE)
def transfer_picture(transfer: Transfer, name: str = "transfer") -> Picture:
    """Draw the accuracy of each network on images attacked on each, as a matrix."""
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
        range(len(names)),
        list(map(shortened_label, names)),
        rotation=0 if short else 25,
        ha="center" if short else "right",
    )
    axes.set_yticks(range(len(rows)), [shortened_label(made_on) for made_on, _ in rows])
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
