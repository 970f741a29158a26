"""Where everything in a cell's figure stands: states, operations and the wires between them, in inches."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from search_space.cells.genotype import Cell
from search_space.drawing.layer_heights import Heights, Position, heights_of
from search_space.drawing.layer_order import OPERATION_PITCH, Gaps, arrivals_of, layers_of, untangled

OPERATION_WIDTH, OPERATION_HEIGHT = 1.04, 0.25
NODE_RADIUS, INPUT_WIDTH, OUTPUT_WIDTH, TERMINAL_HEIGHT = 0.16, 0.5, 0.36, 0.32
GAP, JOIN, OUTPUT_GAP = 0.58, 0.28, 0.35  # before the operations, between them and their nodes, before the output
LAYER_WIDTH = GAP + OPERATION_WIDTH + JOIN + 2 * NODE_RADIUS


_Slot = tuple[int, int]  # a node and one of its edges


@dataclass(frozen=True)
class Box:
    """A labelled shape: its centre and size.  operation: its name, None for a state.  is_circle: else a rectangle."""

    text: str
    operation: str | None
    x: float
    y: float
    width: float
    height: float
    is_circle: bool = False

    @property
    def left(self) -> float:
        """Return the x where wires arrive."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """Return the x where wires leave."""
        return self.x + self.width / 2


@dataclass(frozen=True)
class Wire:
    """A curve that leaves and arrives horizontally.

    state: whose output it carries; from an operation to its node, that node.  arrow: whether it ends at a box.
    """

    state: int
    start: Position
    end: Position
    arrow: bool = True


@dataclass(frozen=True)
class CellLayout:
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


@lru_cache(maxsize=64)  # a run draws its cells for several files and pages
def plan_cell(cell: Cell) -> CellLayout:
    """Lay a cell out in layers from left to right, in an order with few crossings, level where there is room.

    A layer, one for each depth of a node, has a column of operations, then a column of the nodes that they enter. A
    state that a later layer reads crosses both in a lane of its own, and wires bend only in the empty gaps between
    layers. So no box can meet another box, or a wire that is not its own.
    """
    sources = [*[()] * cell.inputs, *([edge.source for edge in edges] for edges in cell.nodes)]
    layers = untangled(layers_of(sources, cell.concat), sources)
    gaps = [arrivals_of(upper, lower, sources) for upper, lower in pairwise(layers)]
    heights = heights_of(layers, gaps, sources)
    states, operations = _state_boxes(heights, cell.inputs), _operation_boxes(cell, gaps, heights)
    x, ys = _right(len(gaps)), {state: heights[len(gaps), state] for state in cell.concat}
    output = _output_box(x, ys.values())
    wires = [*_state_wires(gaps, heights), *_operation_wires(cell, states, operations)]
    wires += [Wire(state, (x, y), (output.left, y)) for state, y in ys.items()]
    return CellLayout(
        tuple(states[state] for state in sorted(states)),
        tuple(operations[slot] for slot in sorted(operations)),
        output,
        tuple(wires),
    )


def _right(depth: int) -> float:
    """Return the x where wires leave a layer: the inputs, or the column of nodes."""
    return INPUT_WIDTH + depth * LAYER_WIDTH


def _state_boxes(heights: Heights, inputs: int) -> dict[int, Box]:
    """Each state, at the right of the first layer that it is in."""
    boxes: dict[int, Box] = {}
    for (depth, state), y in heights.items():
        if depth == 0:
            text = f"$c_{{k\\!-\\!{inputs - state}}}$"
            boxes[state] = Box(text, None, INPUT_WIDTH / 2, y, INPUT_WIDTH, TERMINAL_HEIGHT)
        elif state not in boxes:
            size = 2 * NODE_RADIUS
            boxes[state] = Box(str(state), None, _right(depth) - NODE_RADIUS, y, size, size, is_circle=True)
    return boxes


def _operation_boxes(cell: Cell, gaps: Gaps, heights: Heights) -> dict[_Slot, Box]:
    """Return the operation of each edge, by node and place among the node's edges."""
    boxes = {}
    for depth, arrivals in enumerate(gaps, start=1):
        x = _right(depth - 1) + GAP + OPERATION_WIDTH / 2
        for node, edge, offset in ((a.reader, a.edge, a.offset) for a in arrivals if not a.is_lane):
            name, y = cell.nodes[node - cell.inputs][edge].operation, heights[depth, node] + offset
            boxes[node, edge] = Box(operation_label(name), name, x, y, OPERATION_WIDTH, OPERATION_HEIGHT)
    return boxes


def _output_box(right: float, read: Collection[float]) -> Box:
    """The output, as tall as what it concatenates.  right: of the last layer.  read: the heights of its states."""
    top, bottom, x = min(read), max(read), right + OUTPUT_GAP + OUTPUT_WIDTH / 2
    return Box("$c_k$", None, x, (top + bottom) / 2, OUTPUT_WIDTH, bottom - top + TERMINAL_HEIGHT)


def _state_wires(gaps: Gaps, heights: Heights) -> Iterator[Wire]:
    """Lead from each state to the operations that read it, through its lanes in the layers between."""
    for depth, arrivals in enumerate(gaps, start=1):
        right = _right(depth - 1)
        for arrival in arrivals:
            end = right + GAP, heights[depth, arrival.reader] + arrival.offset
            yield Wire(arrival.source, (right, heights[depth - 1, arrival.source]), end, arrow=not arrival.is_lane)
            if arrival.is_lane:
                yield Wire(arrival.source, end, (_right(depth), end[1]), arrow=False)


def _operation_wires(cell: Cell, states: dict[int, Box], operations: dict[_Slot, Box]) -> Iterator[Wire]:
    """Lead from each operation to a point of its own on the rim of its node."""
    for (state, _), box in operations.items():
        node, half = states[state], len(cell.nodes[state - cell.inputs]) * OPERATION_PITCH / 2
        rise = 0.75 * NODE_RADIUS * (box.y - node.y) / half
        yield Wire(state, (box.right, box.y), (node.x - math.sqrt(NODE_RADIUS**2 - rise**2), node.y + rise))


def operation_label(operation: str) -> str:
    """`sep_conv_3x3` as "sep conv 3×3", `skip_connect` as "skip"."""
    return re.sub(r"(?<=\d)x(?=\d)", "\N{MULTIPLICATION SIGN}", operation.removesuffix("_connect").replace("_", " "))
