"""Figures of the cells: as they were derived, and the alphas that they were derived from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from pipeline.figures.style import (
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
from pipeline.wording import percent
from search_space import Cell, Genotype
from search_space.cell_layout import operation_label
from search_space.draw import draw_cell
from search_space.genotype import CELL_INPUTS

OPERATION_COLOURS = {
    "none": BLACK,
    "max_pool_3x3": GREEN,
    "avg_pool_3x3": "#8fd0b8",
    "skip_connect": PURPLE,
    "sep_conv_3x3": BLUE,
    "sep_conv_5x5": SKY,
    "dil_conv_3x3": VERMILLION,
    "dil_conv_5x5": ORANGE,
}


@rc_context(STYLE)
def cell_picture(cell: Cell, name: str) -> Picture:
    """A cell of the genotype."""
    edges = "; ".join(
        f"node {node} from " + ", ".join(f"{operation_label(e.operation)} of state {e.source}" for e in edges)
        for node, edges in enumerate(cell.nodes, start=CELL_INPUTS)
    )
    caption = (
        "Left, the outputs of the two cells before; a node is the sum of what enters it; right, the cell's output."
    )
    title = f"{name.capitalize()} cell"
    return make_picture(f"cell-{name}", title, caption, f"{title}: {edges}.", draw_cell(cell), is_wide=True)


@rc_context(STYLE)
def alpha_pictures(alphas: Tensor, operations: Sequence[str], genotype: Genotype | None) -> list[Picture]:
    """The alphas [epochs, cells, edges, operations] as probabilities: at the end, and on their way there."""
    probabilities = torch.softmax(alphas.double(), dim=-1).numpy()
    cells = {"normal": genotype.normal if genotype else None, "reduction": genotype.reduction if genotype else None}
    return [
        *(_heatmap(probabilities[-1, i], operations, *item) for i, item in enumerate(cells.items())),
        *(_operation_shares(probabilities[:, i], operations, name) for i, name in enumerate(cells)),
        _entropies(probabilities),
    ]


def _edge_names(edges: int) -> list[str]:
    """Source and node of each mixed edge, in the order of the alphas."""
    names: list[str] = []
    node = CELL_INPUTS
    while len(names) < edges:
        names += [f"{source} → {node}" for source in range(node)]
        node += 1
    return names


def _heatmap(probabilities: NDArray[np.float64], operations: Sequence[str], name: str, cell: Cell | None) -> Picture:
    """One cell's probabilities [edges, operations]; what the derived cell keeps is framed."""
    edges = _edge_names(len(probabilities))
    figure, axes = make_axes("", "edge", height=1.3 + 0.25 * len(edges))
    # vmax: the darkest blue stays light enough for black figures
    axes.imshow(probabilities, cmap="Blues", vmin=0, vmax=max(0.4, 1.6 * probabilities.max()), aspect="auto")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(range(len(operations)), [operation_label(name) for name in operations], rotation=40, ha="right")
    axes.set_yticks(range(len(edges)), edges)
    for (row, column), value in np.ndenumerate(probabilities):
        axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=8, color=BLACK)
    for row, column in _kept(cell, edges, operations):
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=VERMILLION, linewidth=1.8))
    caption = "Softmax of the alphas after the last epoch, in %."
    if cell is not None:
        caption += " Framed: what the cell keeps, two edges a node, never none."
    best = [operations[int(row.argmax())] for row in probabilities]
    alt = "Likeliest operation of each edge: " + ", ".join(
        f"{edge} {top}" for edge, top in zip(edges, best, strict=True)
    )
    return make_picture(f"alphas-{name}", f"Operation probabilities, {name} cell", caption, f"{alt}.", figure)


def _kept(cell: Cell | None, edges: Sequence[str], operations: Sequence[str]) -> Iterator[tuple[int, int]]:
    for node, kept in enumerate(cell.nodes if cell else (), start=CELL_INPUTS):
        for edge in kept:
            yield edges.index(f"{edge.source} → {node}"), operations.index(edge.operation)


def _operation_shares(probabilities: NDArray[np.float64], operations: Sequence[str], name: str) -> Picture:
    """Mean probability of each operation over a cell's edges. probabilities: [epochs, edges, operations]."""
    means = probabilities.mean(axis=1)
    figure, axes = make_axes("epoch", "mean probability")
    epochs = np.arange(1, len(means) + 1)
    for column, operation in enumerate(operations):
        colour = OPERATION_COLOURS.get(operation, GREY)
        axes.plot(epochs, means[:, column], "o-", markersize=3, color=colour, label=operation_label(operation))
    axes.set_ylim(bottom=0)
    whole_numbers(axes)
    in_percent(axes)
    add_legend(figure)
    last = ", ".join(f"{operation} {percent(mean)}" for operation, mean in zip(operations, means[-1], strict=True))
    caption = "Mean over the edges. A cell that collapses shows as skip, pooling or none rising above the rest."
    title = f"Operations over the epochs, {name} cell"
    return make_picture(f"alphas-operations-{name}", title, caption, f"After the last epoch: {last}.", figure)


def _entropies(probabilities: NDArray[np.float64]) -> Picture:
    """How decided the edges are. probabilities: [epochs, cells, edges, operations]."""
    logs = np.log(np.maximum(probabilities, 1e-300))
    entropies = -(probabilities * logs).sum(axis=-1) / math.log(max(probabilities.shape[-1], 2))
    figure, axes = make_axes("epoch", "entropy")
    epochs = np.arange(1, len(entropies) + 1)
    for index, (name, colour) in enumerate((("normal cell", BLUE), ("reduction cell", VERMILLION))):
        axes.plot(epochs, entropies[:, index], color=colour, linewidth=0.7, alpha=0.35)
        axes.plot(epochs, entropies[:, index].mean(axis=1), "o-", markersize=3, color=colour, label=f"{name}, mean")
    whole_numbers(axes)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    add_legend(figure)
    caption = "Of each edge (thin) and their mean, as a part of the largest: 1 is undecided, 0 is one operation alone."
    means = entropies[-1].mean(axis=1)
    alt = (
        f"After the last epoch the mean is {means[0]:.3f} in the normal cell and {means[1]:.3f} in the reduction cell."
    )
    return make_picture("alphas-entropy", "Entropy of the edges", caption, alt, figure)
