"""Figures of a tabular benchmark: how cells spread, what size explains of it, and how far one training deviates."""

from __future__ import annotations

from collections import Counter

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from scipy.stats import kendalltau

from pipeline.evaluation.accuracy import CLEAN
from pipeline.presentation.curves import pareto_front
from pipeline.presentation.style import (
    BLUE,
    GREY,
    STYLE,
    VERMILLION,
    Picture,
    add_legend,
    in_percent,
    make_axes,
    make_picture,
)
from pipeline.presentation.words import magnitude, percent
from pipeline.studies.tables.table import Table

SMALL = 2.5  # points: of one cell
BINS = 30


@rc_context(STYLE)
def table_pictures(table: Table) -> list[Picture]:
    """Draw the spread of cells, accuracy against size, one training against others, and what operations are worth."""
    return [_spread(table), _size(table), _noise(table), _operations(table)]


def _spread(table: Table) -> Picture:
    figure, axes = make_axes("accuracy on test images, mean over seeds", "cells")
    words = []
    for attack, colour in ((CLEAN, BLUE), (table.attack, VERMILLION)):
        means = table.accuracies(attack).mean(axis=1)
        axes.hist(means, bins=BINS, color=colour, alpha=0.75, label=attack)
        low, middle, high = np.quantile(means, (0.05, 0.5, 0.95))
        words.append(f"{attack}: median {percent(middle)}, 5 to 95 % of cells {percent(low)} to {percent(high)}")
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    add_legend(figure)
    caption = f"{'; '.join(words)}."
    return make_picture("table-spread", "How cells spread", caption, caption, figure)


def _size(table: Table) -> Picture:
    figure, axes = make_axes("parameters", f"accuracy under {table.attack}")
    sizes = [entry.parameters for entry in table]
    axes.plot(sizes, table.means, "o", color=BLUE, markersize=SMALL, alpha=0.6, markeredgewidth=0)
    front = pareto_front(list(zip(map(float, sizes), table.means.tolist(), strict=True)))
    axes.step(*zip(*front, strict=True), where="post", color=GREY, linestyle=":", linewidth=1.2)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: magnitude(value)))
    in_percent(axes)
    tau = float(kendalltau(sizes, table.means).statistic)
    caption = f"Each point is a cell. Dotted: the Pareto front. Kendall's tau of size and accuracy is {tau:.2f}."
    return make_picture("table-size", "Size against accuracy", caption, caption, figure)


def _noise(table: Table) -> Picture:
    accuracies = table.accuracies()
    others = accuracies[:, 1:].mean(axis=1)
    rest = accuracies.shape[1] - 1
    figure, axes = make_axes("one training", "mean of the others" if rest > 1 else "another training")
    axes.plot(accuracies[:, 0], others, "o", color=BLUE, markersize=SMALL, alpha=0.6, markeredgewidth=0)
    axes.axline((others.mean(), others.mean()), slope=1, color=GREY, linestyle=":", linewidth=1.2)
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    in_percent(axes)
    tau = float(kendalltau(accuracies[:, 0], others).statistic)
    caption = (
        f"Accuracy under {table.attack} of one seed against that of {rest} more: Kendall's tau {tau:.2f}. One training "
        f"deviates from its cell's mean by {100 * table.seed_deviation:.1f} points."
    )
    return make_picture("table-noise", "How far one training can be trusted", caption, caption, figure)


def _operations(table: Table) -> Picture:
    names = sorted({name for entry in table for name in entry.genotype.operations})
    figure, axes = make_axes(f"accuracy under {table.attack}, mean of cells", "")
    counts = [
        Counter(edge.operation for cell in entry.genotype.cells.values() for edge in cell.edges) for entry in table
    ]
    most = max(max(count.values()) for count in counts)
    words = []
    for row, name in enumerate(names):
        for number in range(most + 1):
            means = table.means[[count[name] == number for count in counts]]
            if len(means) > 2:
                axes.plot([means.mean()], [row], "o", color=BLUE, alpha=0.45 + 0.55 * number / most, markersize=9)
                axes.annotate(str(number), (means.mean(), row), ha="center", va="center", fontsize=6.5, color="white")
                words.append(f"{number} {name}: {percent(float(means.mean()))}")
    axes.set_yticks(range(len(names)), names)
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    caption = "Each circle: the mean of the cells that have so many edges of an operation, of three cells or more."
    return make_picture("table-operations", "What operations are worth", caption, f"{'; '.join(words)}.", figure)
