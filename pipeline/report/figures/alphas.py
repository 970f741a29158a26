"""Figures of the alphas: at the end of the search, and over its epochs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator, PercentFormatter
from numpy.typing import NDArray
from torch import Tensor

from pipeline.presentation.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILLION,
    Picture,
    add_legend,
    in_percent,
    make_axes,
    make_picture,
    whole_numbers,
)
from pipeline.presentation.words import percent
from search_space import Cell, Genotype, SearchSpace
from search_space.drawing.cell_layout import operation_label
from search_space.supernet.relaxation import DARTS, Relaxation
from search_space.supernet.relaxation_choices import OPERATION_WEIGHTS

PANEL = 1.3  # inches: the side of an edge's panel
ALPHA_COLOURS = {
    "none": BLACK,
    "max_pool_3x3": GREEN,
    "avg_pool_3x3": "#8fd0b8",
    "skip_connect": "#8c8c8c",
    "sep_conv_3x3": BLUE,
    "sep_conv_5x5": SKY,
    "dil_conv_3x3": "#b87400",
    "dil_conv_5x5": ORANGE,
    "nor_conv_1x1": "#eb9f6b",
    "nor_conv_3x3": VERMILLION,
    "noise": PURPLE,
}
"""The hues of the cells' pictures (search_space/drawing/draw.py), lighter and darker for the sizes of a kind."""

VISIBLE = 0.03  # of an edge: a share that changes by less looks the same in every epoch


@rc_context(STYLE)
def alpha_pictures(
    alphas: Tensor, space: SearchSpace, genotype: Genotype | None, relaxation: Relaxation = DARTS
) -> list[Picture]:
    """The alphas [epochs, cells, edges, columns] as strengths at the end, and as shares of their edges before."""
    strengths = relaxation.strengths(space, alphas.double()).numpy()
    shares = strengths / strengths.sum(axis=-1, keepdims=True)
    names = ("normal", "reduction")[: space.cells]
    cells = genotype.cells if genotype else dict.fromkeys(names)
    return [
        *(
            _heatmap(strengths[-1, i], space, i, name, cells[name], _in_words(relaxation))
            for i, name in enumerate(names)
        ),
        *(_edges(shares[:, i], space, i, name, cells[name]) for i, name in enumerate(names) if len(shares) > 1),
        *(_operation_shares(shares[:, i], space.operations, name) for i, name in enumerate(names)),
        _entropies(shares, space),
    ]


def _in_words(relaxation: Relaxation) -> str:
    """Return what the strengths are."""
    return f"{OPERATION_WEIGHTS[relaxation.operations].strengths.capitalize()} of the alphas" + (
        ", times the softmax of the edges" if relaxation.normalised_edges else ""
    )


def _heatmap(
    probabilities: NDArray[np.float64], space: SearchSpace, kind: int, name: str, cell: Cell | None, what: str
) -> Picture:
    """Draw one cell's strengths [edges, operations]; what the derived cell keeps is framed.  what: how they arose."""
    edges, operations = space.edge_names, space.operations
    figure, axes = make_axes("", "edge", height=1.3 + 0.25 * len(edges))
    # vmax: the darkest blue stays light enough for black figures
    axes.imshow(probabilities, cmap="Blues", vmin=0, vmax=max(0.4, 1.6 * probabilities.max()), aspect="auto")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(range(len(operations)), [operation_label(name) for name in operations], rotation=40, ha="right")
    axes.set_yticks(range(len(edges)), edges)
    for row, column in np.argwhere(space.mask[kind].numpy()):
        value = f"{100 * probabilities[row, column]:.0f}"
        axes.text(column, row, value, ha="center", va="center", fontsize=8, color=BLACK)
    for row, column in _kept(cell, edges, operations):
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=VERMILLION, linewidth=1.8))
    caption = f"{what} after the last epoch, in %."
    if cell is not None:
        caption += f" Framed: what the cell keeps{'' if space.keeps_all else ', two edges a node, never none'}."
    best = [operations[int(row.argmax())] for row in probabilities]
    alt = "Likeliest operation of each edge: " + ", ".join(
        f"{edge} {top}" for edge, top in zip(edges, best, strict=True)
    )
    return make_picture(f"alphas-{name}", f"Operation probabilities, {name} cell", caption, f"{alt}.", figure)


def _kept(cell: Cell | None, edges: Sequence[str], operations: Sequence[str]) -> Iterator[tuple[int, int]]:
    for node, kept in enumerate(cell.nodes, start=cell.inputs) if cell else ():
        for edge in kept:
            yield edges.index(f"{edge.source} → {node}"), operations.index(edge.operation)


def _edges(probabilities: NDArray[np.float64], space: SearchSpace, kind: int, name: str, cell: Cell | None) -> Picture:
    """Each edge's probabilities [epochs, edges, operations] over the epochs: a row a node, a column a source."""
    rows, columns = space.nodes, len(space.sources[-1])
    figure = Figure(figsize=(PANEL * columns + 0.5, 0.92 * PANEL * rows + 0.4), layout="constrained", facecolor="white")
    grid: Any = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    kept = dict(_kept(cell, space.edge_names, space.operations))
    edges = iter(range(len(space.edges)))
    for row, column in np.ndindex(rows, columns):
        axes: Axes = grid[row, column]
        if column not in space.sources[row]:
            axes.set_visible(False)
            continue
        edge = next(edges)
        _panel(axes, probabilities[:, edge], space, kept.get(edge))
        axes.set_title(space.edge_names[edge], pad=3, fontweight="bold" if edge in kept else "normal")
    figure.supxlabel("epoch", fontsize=9)
    add_legend(figure, [_swatch(space.operations[i]) for i in np.flatnonzero(space.mask[kind].any(dim=0).numpy())])
    caption = "An edge a panel, named by its source and its node; heights are the probabilities of its operations."
    if cell is not None:
        caption += " Bold and outlined: what the derived cell keeps."
    last = zip(space.edge_names, probabilities[[0, -1]].max(axis=-1).T, strict=True)
    alt = "Largest probability of each edge after the first and the last epoch: " + ", ".join(
        f"{edge} {percent(first)} and {percent(end)}" for edge, (first, end) in last
    )
    title = f"Alphas over the epochs, {name} cell"
    change = float(np.abs(probabilities - probabilities[0]).max())
    if change >= VISIBLE:
        return make_picture(f"alphas-edges-{name}", title, caption, f"{alt}.", figure, is_wide=True)
    title = f"{title}: none changed by more than {100 * change:.1f} points"
    return replace(
        make_picture(f"alphas-edges-{name}", title, caption, f"{alt}.", figure, is_wide=True), is_folded=True
    )


def _panel(axes: Axes, shares: NDArray[np.float64], space: SearchSpace, kept: int | None) -> None:
    """shares: [epochs, operations].  kept: the operation to outline."""
    epochs = np.arange(1, len(shares) + 1)
    colours = [ALPHA_COLOURS.get(operation, GREY) for operation in space.operations]
    axes.stackplot(epochs, shares.T, colors=colours, alpha=0.8, edgecolor="white", linewidth=0.3)
    if kept is not None:
        tops = shares.cumsum(axis=-1)
        for top in (tops[:, kept], tops[:, kept] - shares[:, kept]):
            axes.plot(epochs, top, color=BLACK, linewidth=1.3, clip_on=False)
    axes.set(xlim=(1, len(shares)), ylim=(0, 1))
    axes.grid(visible=False)
    axes.yaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))


def _swatch(operation: str) -> Line2D:
    """An operation in a legend."""
    colour = ALPHA_COLOURS.get(operation, GREY)
    return Line2D([], [], linestyle="", marker="s", markersize=8, color=colour, label=operation_label(operation))


def _operation_shares(probabilities: NDArray[np.float64], operations: Sequence[str], name: str) -> Picture:
    """Return the mean probability of each operation over a cell's edges. probabilities: [epochs, edges, operations]."""
    means = probabilities.mean(axis=1)
    figure, axes = make_axes("epoch", "mean probability")
    epochs = np.arange(1, len(means) + 1)
    for column, operation in enumerate(operations):
        colour = ALPHA_COLOURS.get(operation, GREY)
        axes.plot(epochs, means[:, column], "o-", markersize=3, color=colour, label=operation_label(operation))
    axes.set_ylim(bottom=0)
    whole_numbers(axes)
    in_percent(axes)
    add_legend(figure)
    last = ", ".join(f"{operation} {percent(mean)}" for operation, mean in zip(operations, means[-1], strict=True))
    caption = "Mean over the edges. A cell that collapses shows as skip, pooling or none rising above the rest."
    title = f"Operations over the epochs, {name} cell"
    return make_picture(f"alphas-operations-{name}", title, caption, f"After the last epoch: {last}.", figure)


def _entropies(probabilities: NDArray[np.float64], space: SearchSpace) -> Picture:
    """Return how decided the edges are. probabilities: [epochs, cells, edges, operations]."""
    logs = np.log(np.maximum(probabilities, 1e-300))
    largest = np.log(np.maximum(space.mask.sum(dim=-1).numpy(), 2))
    entropies = -(probabilities * logs).sum(axis=-1) / largest
    figure, axes = make_axes("epoch", "entropy")
    epochs = np.arange(1, len(entropies) + 1)
    names = ("normal cell", "reduction cell")[: space.cells]
    for index, (name, colour) in enumerate(zip(names, (BLUE, VERMILLION), strict=False)):
        axes.plot(epochs, entropies[:, index], color=colour, linewidth=0.7, alpha=0.35)
        axes.plot(epochs, entropies[:, index].mean(axis=1), "o-", markersize=3, color=colour, label=f"{name}, mean")
    whole_numbers(axes)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    add_legend(figure)
    caption = "Of each edge (thin) and their mean, as a part of the largest: 1 is undecided, 0 is one operation alone."
    means = entropies[-1].mean(axis=1)
    of_cells = " and ".join(f"{mean:.3f} in the {name}" for name, mean in zip(names, means, strict=True))
    alt = f"After the last epoch the mean is {of_cells}."
    return make_picture("alphas-entropy", "Entropy of the edges", caption, alt, figure)
