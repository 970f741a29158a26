"""Where everything in a cell's figure stands: states, operations and the wires between them, in inches."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, pairwise

from search_space.cells.genotype import Cell

OPERATION_WIDTH, OPERATION_HEIGHT, OPERATION_PITCH = 1.04, 0.25, 0.33
NODE_RADIUS, INPUT_WIDTH, OUTPUT_WIDTH, TERMINAL_HEIGHT = 0.16, 0.5, 0.36, 0.32
GAP, JOIN, OUTPUT_GAP = 0.58, 0.28, 0.35  # before the operations, between them and their nodes, before the output
LAYER_WIDTH = GAP + OPERATION_WIDTH + JOIN + 2 * NODE_RADIUS
SPACE, INPUT_REACH = 0.15, 0.3  # between neighbours in a layer; half the room of an input

SWEEPS = 200
LANE_STIFFNESS, LEVEL = 12.0, 2.0  # how much more a lane wants to be level than other wires; see _heights

Point = tuple[float, float]
_Place = tuple[int, int]  # a layer and a state in it
_Slot = tuple[int, int]  # a node and one of its edges
_Layers = tuple[tuple[int, ...], ...]
_Sources = Sequence[Sequence[int]]  # of every state, the states that its edges read
_Heights = dict[_Place, float]


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
    """Lay a cell out in layers from left to right, in an order with few crossings, level where there is room.

    A layer, one for each depth of a node, has a column of operations, then a column of the nodes that they enter. A
    state that a later layer reads crosses both in a lane of its own, and wires bend only in the empty gaps between
    layers. So no box can meet another box, or a wire that is not its own.
    """
    sources = [*[()] * cell.inputs, *([edge.source for edge in edges] for edges in cell.nodes)]
    layers = _untangle(_layers(sources, cell.concat), sources)
    gaps = [_arrivals(upper, lower, sources) for upper, lower in pairwise(layers)]
    heights = _heights(layers, gaps, sources)
    states, operations = _state_boxes(heights, cell.inputs), _operation_boxes(cell, gaps, heights)
    x, ys = _right(len(gaps)), {state: heights[len(gaps), state] for state in cell.concat}
    output = _output_box(x, ys.values())
    wires = [*_state_wires(gaps, heights), *_operation_wires(cell, states, operations)]
    wires += [Wire(state, (x, y), (output.left, y)) for state, y in ys.items()]
    return Plan(
        tuple(states[state] for state in sorted(states)),
        tuple(operations[slot] for slot in sorted(operations)),
        output,
        tuple(wires),
    )


def _layers(sources: _Sources, concat: Sequence[int]) -> _Layers:
    """The states of each depth, and the earlier ones that a deeper layer, or the output behind all, still reads."""
    depths: list[int] = []
    for read in sources:
        depths.append(1 + max((depths[source] for source in read), default=-1))
    end = max(depths) + 1
    readers = [*zip(depths, sources, strict=True), (end, concat)]
    last = [max((depth for depth, read in readers if state in read), default=0) for state in range(len(sources))]
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


def _state_boxes(heights: _Heights, inputs: int) -> dict[int, Box]:
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


def _operation_boxes(cell: Cell, gaps: _Gaps, heights: _Heights) -> dict[_Slot, Box]:
    """The operation of each edge, by node and place among the node's edges."""
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
        node, half = states[state], len(cell.nodes[state - cell.inputs]) * OPERATION_PITCH / 2
        rise = 0.75 * NODE_RADIUS * (box.y - node.y) / half
        yield Wire(state, (box.right, box.y), (node.x - math.sqrt(NODE_RADIUS**2 - rise**2), node.y + rise))


def operation_label(operation: str) -> str:
    """`sep_conv_3x3` as "sep conv 3×3", `skip_connect` as "skip"."""
    return re.sub(r"(?<=\d)x(?=\d)", "\N{MULTIPLICATION SIGN}", operation.removesuffix("_connect").replace("_", " "))
