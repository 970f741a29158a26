"""A cell as a figure for print: states, operations and the wires between them, in layers from left to right.

The layout is a value in inches (`plan_cell`), made before anything is drawn. A layer has a column of operations, then a
column of the nodes that they enter. A state that a later layer reads crosses both in a lane of its own, and wires bend
only in the empty gaps between layers. So no box can meet another box, or a wire that is not its own.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, pairwise
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyBboxPatch, Patch, PathPatch, Polygon
from matplotlib.path import Path as Curve
from matplotlib.text import Text
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D, Transform

from search_space.genotype import CELL_INPUTS, Cell

# Lengths in inches, fonts and lines in points.
OPERATION_WIDTH, OPERATION_HEIGHT, OPERATION_PITCH = 1.04, 0.25, 0.33
NODE_RADIUS, INPUT_WIDTH, OUTPUT_WIDTH, TERMINAL_HEIGHT = 0.16, 0.5, 0.36, 0.32
GAP, JOIN, OUTPUT_GAP = 0.58, 0.28, 0.35  # before the operations, between them and their nodes, before the output
LAYER_WIDTH = GAP + OPERATION_WIDTH + JOIN + 2 * NODE_RADIUS
SPACE, INPUT_REACH = 0.15, 0.3  # between neighbours in a layer; half the room of an input
ARROW_LENGTH, ARROW_WIDTH, LINE = 0.075, 0.06, 0.9
LABEL_SIZE, STATE_SIZE, TITLE_SIZE = 9.0, 10.0, 11.0
MARGIN, TITLE_RISE, TITLE_BAND = 0.06, 0.09, 0.3

SWEEPS = 200
LANE_STIFFNESS, LEVEL = 12.0, 2.0  # how much more a lane wants to be level than other wires; see _heights

INK, WIRE_COLOUR = "#222222", "#4d4d4d"
STATE_COLOURS = ("#ededed", INK)
OPERATION_COLOURS = {  # fill and outline by the start of the name: tints of Okabe & Ito's colour-blind-safe palette
    "sep_conv": ("#b9dcf2", "#0072b2"),
    "dil_conv": ("#f7d28c", "#b87400"),
    "max_pool": ("#d5efe5", "#009e73"),
    "avg_pool": ("#d5efe5", "#009e73"),
    "skip": ("#ffffff", "#8c8c8c"),
    "": ("#e6bfd3", "#a8487c"),
}

STYLE: Any = {  # against the user's own settings; Any: matplotlib's releases disagree on the type
    "font.family": "DejaVu Sans",  # comes with matplotlib, and OPERATION_WIDTH fits it
    "mathtext.fontset": "dejavusans",
    "text.usetex": False,
    "pdf.fonttype": 42,  # publishers refuse Type 3
    "svg.fonttype": "path",  # looks the same where the font is not installed
    "svg.hashsalt": "cell",  # with no dates below: the same cell gives the same bytes
}
SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".svg": {"metadata": {"Date": None}},
    ".png": {"dpi": 200},
    ".pdf": {"metadata": {"CreationDate": None}},
}

Point = tuple[float, float]
_Place = tuple[int, int]  # a layer and a state in it
_Slot = tuple[int, int]  # a node and one of its edges
_Layers = tuple[tuple[int, ...], ...]
_Sources = Sequence[Sequence[int]]  # of every state, the states that its edges read
_Heights = dict[_Place, float]


@dataclass(frozen=True)
class Box:
    """A labelled shape: its centre and its size.  operation: the name of the operation, None for a state.

    is_circle: drawn as a circle, a rectangle with round corners otherwise.
    """

    text: str
    operation: str | None
    x: float
    y: float
    width: float
    height: float
    is_circle: bool = False

    @property
    def left(self) -> float:
        """Where wires arrive."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """Where wires leave."""
        return self.x + self.width / 2


@dataclass(frozen=True)
class Wire:
    """A curve that leaves and arrives horizontally.

    state: whose output it carries; from an operation to its node, that node.  arrow: whether it ends at a box.
    """

    state: int
    start: Point
    end: Point
    arrow: bool = True


@dataclass(frozen=True)
class Plan:
    """Everything that a figure shows, in inches with y downwards.

    states: a box for each state but the output.  operations: a box for each edge, in the order of `Cell.edges`.
    """

    states: tuple[Box, ...]
    operations: tuple[Box, ...]
    output: Box
    wires: tuple[Wire, ...]

    @property
    def boxes(self) -> tuple[Box, ...]:
        """All boxes: states, operations, output."""
        return (*self.states, *self.operations, self.output)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of all that is shown."""
        ys = [y for wire in self.wires for _, y in (wire.start, wire.end)]
        ys += [box.y + side * box.height / 2 for box in self.boxes for side in (-1, 1)]
        return min(box.left for box in self.boxes), min(ys), self.output.right, max(ys)


@dataclass(frozen=True)
class _Arrival:
    """Where a wire enters a layer: an edge of a node, `offset` below the node's centre, or the lane of its state."""

    source: int
    reader: int
    edge: int = 0
    offset: float = 0.0

    @property
    def is_lane(self) -> bool:
        return self.source == self.reader


_Gaps = Sequence[Sequence[_Arrival]]  # what enters the layers after the first, each from the top


def plan_cell(cell: Cell) -> Plan:
    """Lay a cell out: a layer for each depth of a node, in an order with few crossings, level where there is room."""
    sources = [(), (), *([edge.source for edge in edges] for edges in cell.nodes)]
    layers = _untangle(_layers(sources, cell.concat), sources)
    gaps = [_arrivals(upper, lower, sources) for upper, lower in pairwise(layers)]
    heights = _heights(layers, gaps, sources)
    states, operations = _state_boxes(heights), _operation_boxes(cell, gaps, heights)
    ends = {state: (_right(len(gaps)), heights[len(gaps), state]) for state in cell.concat}
    output = _output_box(ends.values())
    wires = [*_state_wires(gaps, heights), *_operation_wires(cell, states, operations)]
    wires += [Wire(state, end, (output.left, end[1])) for state, end in ends.items()]
    return Plan(_in_order(states), _in_order(operations), output, tuple(wires))


def _in_order(boxes: Mapping[Any, Box]) -> tuple[Box, ...]:
    return tuple(boxes[key] for key in sorted(boxes))


def _layers(sources: _Sources, concat: Sequence[int]) -> _Layers:
    """The states of each depth, and the earlier ones that a deeper layer, or the output behind all, still reads."""
    depths: list[int] = []
    for read in sources:
        depths.append(1 + max((depths[source] for source in read), default=-1))
    end = max(depths) + 1
    last = [max((depths[r] for r, read in enumerate(sources) if s in read), default=0) for s in range(len(sources))]
    last = [end if state in concat else depth for state, depth in enumerate(last)]
    return tuple(
        tuple(state for state, depth in enumerate(depths) if depth == layer or depth < layer < last[state])
        for layer in range(end)
    )


def _arrivals(upper: Sequence[int], lower: Sequence[int], sources: _Sources) -> tuple[_Arrival, ...]:
    """The wires between two layers in the order of their arrival; a node's edges are in the order of what they read."""
    arrivals = []
    for state in lower:
        if state in upper:
            arrivals.append(_Arrival(state, state))
            continue
        read = sources[state]
        edges = sorted(range(len(read)), key=lambda edge: upper.index(read[edge]))
        for rank, edge in enumerate(edges):
            arrivals.append(_Arrival(read[edge], state, edge, (rank - (len(read) - 1) / 2) * OPERATION_PITCH))
    return tuple(arrivals)


def _untangle(layers: _Layers, sources: _Sources) -> _Layers:
    """The best order found from every rotation of the states, forwards and backwards. The inputs stay as they are."""
    states = list(range(len(sources)))
    rotations = [order[i:] + order[:i] for order in (states, states[::-1]) for i in states]
    starts = [(layers[0], *(tuple(sorted(layer, key=order.index)) for layer in layers[1:])) for order in rotations]
    return min((_settle(start, sources) for start in starts), key=lambda settled: _tangle(settled, sources))


def _settle(layers: _Layers, sources: _Sources) -> _Layers:
    """Make, for each state of each layer in turn, the exchange that helps most, until none does."""
    while True:
        before = layers
        for depth, layer in enumerate(before[1:], start=1):
            for state in layer:
                exchanged = [_exchange(layers, depth, state, other) for other in layer]
                layers = min([layers, *exchanged], key=lambda order: _tangle(order[depth - 1 :], sources))
        if layers == before:
            return layers


def _exchange(layers: _Layers, depth: int, first: int, second: int) -> _Layers:
    """The layers with two states exchanged in one layer and in every later one that has both."""
    other = {first: second, second: first}
    exchanged = (
        tuple(other.get(state, state) for state in layer) if {first, second} <= set(layer) else layer
        for layer in layers[depth:]
    )
    return (*layers[:depth], *exchanged)


def _tangle(layers: _Layers, sources: _Sources) -> tuple[int, float]:
    """How many pairs of wires cross; among equals, how far the wires climb in shares of the layers' heights."""
    crossings, climb = 0, 0.0
    for upper, lower in pairwise(layers):
        ranks = [upper.index(arrival.source) for arrival in _arrivals(upper, lower, sources)]
        crossings += sum(first > second for first, second in combinations(ranks, 2))
        climb += sum(abs((rank + 0.5) / len(upper) - (i + 0.5) / len(ranks)) for i, rank in enumerate(ranks))
    return crossings, round(climb, 6)


def _heights(layers: _Layers, gaps: _Gaps, sources: _Sources) -> _Heights:
    """The y of every state in every layer, found one layer at a time: wires as level as the room allows.

    A wire that climbs by c costs c^2 + 2 LEVEL |c|, lanes more: least squares, reweighted with a falling tolerance.
    """
    heights = {(depth, state): 0.0 for depth, layer in enumerate(layers) for state in layer}
    wishes: dict[_Place, list[tuple[_Place, float, float]]] = {place: [] for place in heights}
    for depth, arrival in ((depth, arrival) for depth, arrivals in enumerate(gaps) for arrival in arrivals):
        start, end = (depth, arrival.source), (depth + 1, arrival.reader)
        stiffness = LANE_STIFFNESS if arrival.is_lane else 1.0
        wishes[start].append((end, arrival.offset, stiffness))
        wishes[end].append((start, -arrival.offset, stiffness))
    spaces = [_spaces(layers, depth, sources) for depth in range(len(layers))]
    for sweep in range(SWEEPS):
        tolerance = 0.001 ** (sweep / SWEEPS)  # inches
        for depth, layer in enumerate(layers):
            places = [(depth, state) for state in layer]
            pulls = [_pull(heights, place, wishes[place], tolerance) for place in places]
            heights.update(zip(places, _spaced(pulls, spaces[depth]), strict=True))
    return heights


def _spaces(layers: _Layers, depth: int, sources: _Sources) -> list[float]:
    """From centre to centre of neighbours in a layer: inputs, nodes with their operations, lanes (which are thin)."""

    def reach(state: int) -> float:
        if depth == 0:
            return INPUT_REACH
        return 0.0 if state in layers[depth - 1] else len(sources[state]) * OPERATION_PITCH / 2

    return [reach(upper) + reach(lower) + SPACE for upper, lower in pairwise(layers[depth])]


def _pull(heights: _Heights, place: _Place, wishes: list[tuple[_Place, float, float]], tolerance: float) -> Point:
    """Where its wires want a place, with what weight. wishes: (other end, offset from it, stiffness)."""
    pulls = [(0.0, 1e-3)]
    for other, offset, stiffness in wishes:
        y = heights[other] + offset
        pulls.append((y, stiffness * (1 + LEVEL / (abs(y - heights[place]) + tolerance))))
    return _mean(pulls)


def _mean(pulls: Sequence[Point]) -> Point:
    """Mean and total weight of (value, weight)."""
    total = sum(weight for _, weight in pulls)
    return sum(value * weight for value, weight in pulls) / total, total


def _spaced(pulls: Sequence[Point], spaces: Sequence[float]) -> list[float]:
    """The heights nearest to the wanted ones with at least the given spaces between neighbours, in least squares.

    Less the spaces above it, a height may not fall: isotonic regression, solved by pooling adjacent violators.
    """
    above = list(accumulate(spaces, initial=0.0))
    pools: list[list[Point]] = []
    for (value, weight), space in zip(pulls, above, strict=True):
        pools.append([(value - space, weight)])
        while len(pools) > 1 and _mean(pools[-2]) > _mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    levels = [_mean(pool)[0] for pool in pools for _ in pool]
    return [level + space for level, space in zip(levels, above, strict=True)]


def _right(depth: int) -> float:
    """Where wires leave a layer: the inputs, or the column of nodes."""
    return INPUT_WIDTH + depth * LAYER_WIDTH


def _state_boxes(heights: _Heights) -> dict[int, Box]:
    """Each state, at the right of the first layer that it is in."""
    boxes: dict[int, Box] = {}
    for (depth, state), y in heights.items():
        if depth == 0:
            text = f"$c_{{k\\!-\\!{CELL_INPUTS - state}}}$"
            boxes[state] = Box(text, None, INPUT_WIDTH / 2, y, INPUT_WIDTH, TERMINAL_HEIGHT)
        elif state not in boxes:
            size = 2 * NODE_RADIUS
            boxes[state] = Box(str(state), None, _right(depth) - NODE_RADIUS, y, size, size, is_circle=True)
    return boxes


def _operation_boxes(cell: Cell, gaps: _Gaps, heights: _Heights) -> dict[_Slot, Box]:
    """The operation of each edge, by node and place among the node's edges."""
    boxes = {}
    for depth, arrivals in enumerate(gaps, start=1):
        x = _right(depth - 1) + GAP + OPERATION_WIDTH / 2
        for arrival in arrivals:
            if not arrival.is_lane:
                name = cell.nodes[arrival.reader - CELL_INPUTS][arrival.edge].operation
                y = heights[depth, arrival.reader] + arrival.offset
                box = Box(operation_label(name), name, x, y, OPERATION_WIDTH, OPERATION_HEIGHT)
                boxes[arrival.reader, arrival.edge] = box
    return boxes


def _output_box(read: Collection[Point]) -> Box:
    """The output, as tall as what it concatenates."""
    x = max(x for x, _ in read) + OUTPUT_GAP + OUTPUT_WIDTH / 2
    top, bottom = min(y for _, y in read), max(y for _, y in read)
    return Box("$c_k$", None, x, (top + bottom) / 2, OUTPUT_WIDTH, bottom - top + TERMINAL_HEIGHT)


def _state_wires(gaps: _Gaps, heights: _Heights) -> Iterator[Wire]:
    """From each state to the operations that read it, through its lanes in the layers between."""
    for depth, arrivals in enumerate(gaps, start=1):
        right = _right(depth - 1)
        for arrival in arrivals:
            end = right + GAP, heights[depth, arrival.reader] + arrival.offset
            yield Wire(arrival.source, (right, heights[depth - 1, arrival.source]), end, arrow=not arrival.is_lane)
            if arrival.is_lane:
                yield Wire(arrival.source, end, (_right(depth), end[1]), arrow=False)


def _operation_wires(cell: Cell, states: dict[int, Box], operations: dict[_Slot, Box]) -> Iterator[Wire]:
    """From each operation to a point of its own on the rim of its node."""
    for (state, _), box in operations.items():
        node, half = states[state], len(cell.nodes[state - CELL_INPUTS]) * OPERATION_PITCH / 2
        rise = 0.75 * NODE_RADIUS * (box.y - node.y) / half
        yield Wire(state, (box.right, box.y), (node.x - math.sqrt(NODE_RADIUS**2 - rise**2), node.y + rise))


def operation_label(operation: str) -> str:
    """`sep_conv_3x3` as "sep conv 3×3", `skip_connect` as "skip"."""
    return re.sub(r"(?<=\d)x(?=\d)", "\N{MULTIPLICATION SIGN}", operation.removesuffix("_connect").replace("_", " "))


@rc_context(STYLE)
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


def _draw_text(figure: Figure, text: str, baseline: Point, size: float, transform: Transform) -> None:
    figure.add_artist(Text(*baseline, text, fontsize=size, color=INK, ha="center", transform=transform))


def _operation_colours(operation: str) -> tuple[str, str]:
    return next(colours for start, colours in OPERATION_COLOURS.items() if operation.startswith(start))


@rc_context(STYLE)
def save_cell(cell: Cell, path: str | os.PathLike[str], *, title: str = "") -> None:
    """Write a cell's figure in the format of the suffix: .svg, .png or .pdf. Nothing is left of one that fails."""
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in SAVE_OPTIONS:
        raise ValueError(f"expected a path that ends in {', '.join(SAVE_OPTIONS)}; found {target.name!r}")
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        draw_cell(cell, title=title).savefig(unfinished, format=suffix[1:], **SAVE_OPTIONS[suffix])
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
