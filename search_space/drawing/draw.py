"""A cell as a figure for print, drawn from its layout and saved."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyBboxPatch, Patch, PathPatch, Polygon
from matplotlib.path import Path as Curve
from matplotlib.text import Text
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D, Transform

from atomic_files import write_atomically
from search_space.cells.genotype import Cell
from search_space.drawing.cell_layout import Box, Wire, plan_cell
from search_space.drawing.layer_heights import Position

# Lengths in inches, fonts and lines in points.
ARROW_LENGTH, ARROW_WIDTH, LINE = 0.075, 0.06, 0.9
LABEL_SIZE, STATE_SIZE, TITLE_SIZE = 9.0, 10.0, 11.0
MARGIN, TITLE_RISE, TITLE_BAND = 0.06, 0.09, 0.3

INK, WIRE_COLOUR = "#222222", "#4d4d4d"
STATE_COLOURS = ("#ededed", INK)
OPERATION_COLOURS = {  # fill and outline by the start of the name: tints of Okabe & Ito's colour-blind-safe palette
    "sep_conv": ("#b9dcf2", "#0072b2"),
    "dil_conv": ("#f7d28c", "#b87400"),
    "max_pool": ("#d5efe5", "#009e73"),
    "avg_pool": ("#d5efe5", "#009e73"),
    "skip": ("#ffffff", "#8c8c8c"),
    "nor_conv": ("#f6cfb5", "#d55e00"),
    "none": ("#ffffff", "#d9d9d9"),
    "": ("#e6bfd3", "#a8487c"),
}

CELL_STYLE: Any = {  # against the user's own settings; Any: matplotlib's releases disagree on the type
    "font.family": "DejaVu Sans",  # comes with matplotlib, and cell_layout.OPERATION_WIDTH fits it
    "mathtext.fontset": "dejavusans",
    "text.usetex": False,
    "pdf.fonttype": 42,  # publishers refuse Type 3
    "svg.fonttype": "none",  # text that can be read, searched and copied
    "svg.hashsalt": "cell",  # with no dates below: the same cell gives the same bytes
}
SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".svg": {"metadata": {"Date": None}},
    ".png": {"dpi": 200},
    ".pdf": {"metadata": {"CreationDate": None}},
}


@rc_context(CELL_STYLE)
def draw_cell(cell: Cell, *, title: str = "") -> Figure:
    """Draw a cell, as large as its labels at LABEL_SIZE need it. Nodes have the numbers that they have in the genotype.

    title: stands above the cell, on one line.
    """
    plan, title = plan_cell(cell), " ".join(title.split())
    left, top, right, bottom = plan.extent
    title_width = TextPath((0, 0), title, size=TITLE_SIZE).get_extents().width / 72 if title else 0.0
    width = max(right - left, title_width) + 2 * MARGIN
    height = bottom - top + 2 * MARGIN
    figure = Figure(figsize=(width, height + (TITLE_BAND if title else 0.0)), facecolor="white")
    shift = Affine2D().translate((width - left - right) / 2, -bottom - MARGIN)
    paper = shift + Affine2D().scale(1, -1) + figure.dpi_scale_trans
    for wire in plan.wires:
        _draw_wire(figure, wire, paper)
    for box in plan.boxes:
        _draw_box(figure, box, paper)
    _draw_text(figure, title, (width / 2, height + TITLE_RISE), TITLE_SIZE, figure.dpi_scale_trans)
    return figure


def _draw_wire(figure: Figure, wire: Wire, paper: Transform) -> None:
    (x0, y0), (x1, y1) = wire.start, wire.end
    if wire.arrow:
        x1 -= ARROW_LENGTH
        head = [(x1, y1 - ARROW_WIDTH / 2), wire.end, (x1, y1 + ARROW_WIDTH / 2)]
        figure.add_artist(Polygon(head, facecolor=WIRE_COLOUR, linewidth=0, transform=paper))
    middle = (x0 + x1) / 2
    curve = Curve([(x0, y0), (middle, y0), (middle, y1), (x1, y1)], [Curve.MOVETO, *[Curve.CURVE4] * 3])
    figure.add_artist(PathPatch(curve, facecolor="none", edgecolor=WIRE_COLOUR, linewidth=LINE, transform=paper))


def _draw_box(figure: Figure, box: Box, paper: Transform) -> None:
    shape: Patch
    if box.is_circle:
        shape = Ellipse((box.x, box.y), box.width, box.height)
    else:
        corner = (box.left, box.y - box.height / 2)
        shape = FancyBboxPatch(corner, box.width, box.height, boxstyle="round,pad=0,rounding_size=0.06")
    fill, outline = STATE_COLOURS if box.operation is None else _operation_colours(box.operation)
    shape.set(facecolor=fill, edgecolor=outline, linewidth=LINE, transform=paper)
    figure.add_artist(shape)
    size = STATE_SIZE if box.operation is None else LABEL_SIZE
    _draw_text(figure, box.text, (box.x, box.y + 0.36 * size / 72), size, paper)


def _draw_text(figure: Figure, text: str, baseline: Position, size: float, transform: Transform) -> None:
    figure.add_artist(Text(*baseline, text, fontsize=size, color=INK, ha="center", transform=transform))


def _operation_colours(operation: str) -> tuple[str, str]:
    return next(colours for start, colours in OPERATION_COLOURS.items() if operation.startswith(start))


@rc_context(CELL_STYLE)
def save_cell(cell: Cell, path: str | os.PathLike[str], *, title: str = "") -> None:
    """Write a cell's figure in the format of the suffix: .svg, .png or .pdf. Nothing is left of one that fails."""
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in SAVE_OPTIONS:
        raise ValueError(f"expected a path that ends in {', '.join(SAVE_OPTIONS)}; found {target.name!r}")
    write_atomically(target, encoded(cell, suffix, title))


def cells_as_html(cells: Mapping[str, Cell]) -> str:
    """Draw cells for a notebook, each under its name; an image each, since the names inside SVG hold for a page."""
    pictures = {name: base64.b64encode(encoded(cell, ".svg", name)).decode() for name, cell in cells.items()}
    return "".join(
        f'<img alt="{escape(name)} cell" src="data:image/svg+xml;base64,{svg}">' for name, svg in pictures.items()
    )


def encoded(cell: Cell, suffix: str, title: str) -> bytes:
    """Draw a cell, and return the bytes of a file with this suffix."""
    drawn = io.BytesIO()
    draw_cell(cell, title=title).savefig(drawn, format=suffix[1:], **SAVE_OPTIONS[suffix])
    # Verdana is as wide, where DejaVu Sans is not installed
    return drawn.getvalue().replace(b"'DejaVu Sans'", b"'DejaVu Sans', Verdana, sans-serif")
