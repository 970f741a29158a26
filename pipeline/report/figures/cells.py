"""Figures of the derived cells."""

from __future__ import annotations

from matplotlib import rc_context

from pipeline.presentation.style import STYLE, Picture, make_picture
from search_space import Cell
from search_space.drawing.cell_layout import operation_label
from search_space.drawing.draw import draw_cell


@rc_context(STYLE)
def cell_picture(cell: Cell, name: str) -> Picture:
    """A cell of the genotype."""
    edges = "; ".join(
        f"node {node} from " + ", ".join(f"{operation_label(e.operation)} of state {e.source}" for e in edges)
        for node, edges in enumerate(cell.nodes, start=cell.inputs)
    )
    before = "the output of the cell before" if cell.inputs == 1 else "the outputs of the two cells before"
    caption = f"Left, {before}; a node is the sum of what enters it; right, the cell's output."
    title = f"{name.capitalize()} cell"
    return make_picture(f"cell-{name}", title, caption, f"{title}: {edges}.", draw_cell(cell), is_wide=True)
