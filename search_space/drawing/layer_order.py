"""The layers of a cell's figure, and an order of the states in them with few crossings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from search_space.cells.dag_paths import Sources

OPERATION_PITCH = 0.33  # inches from one operation of a node to the next

LayeredStates = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Arrival:
    """Where a wire enters a layer: an edge of a node, `offset` below the node's centre, or the lane of its state."""

    source: int
    reader: int
    edge: int = 0
    offset: float = 0.0

    @property
    def is_lane(self) -> bool:
        """Return whether the wire crosses the layer to a later one."""
        return self.source == self.reader


Gaps = Sequence[Sequence[Arrival]]  # what enters the layers after the first, each from the top


def layers_of(sources: Sources, concat: Sequence[int]) -> LayeredStates:
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


def arrivals_of(upper: Sequence[int], lower: Sequence[int], sources: Sources) -> tuple[Arrival, ...]:
    """The wires between two layers in the order of their arrival; a node's edges are in the order of what they read."""
    arrivals = []
    for state in lower:
        if state in upper:
            arrivals.append(Arrival(state, state))
            continue
        read = sources[state]
        edges = sorted(range(len(read)), key=lambda edge: upper.index(read[edge]))
        for rank, edge in enumerate(edges):
            arrivals.append(Arrival(read[edge], state, edge, (rank - (len(read) - 1) / 2) * OPERATION_PITCH))
    return tuple(arrivals)


def untangled(layers: LayeredStates, sources: Sources) -> LayeredStates:
    """The best order found from every rotation of the states, forwards and backwards. The inputs stay as they are."""
    states = list(range(len(sources)))
    rotations = [order[i:] + order[:i] for order in (states, states[::-1]) for i in states]
    starts = [(layers[0], *(tuple(sorted(layer, key=order.index)) for layer in layers[1:])) for order in rotations]
    return min((_exchanged_while_better(start, sources) for start in starts), key=lambda order: _tangle(order, sources))


def _exchanged_while_better(layers: LayeredStates, sources: Sources) -> LayeredStates:
    """Make, for each state of each layer in turn, the exchange that helps most, until none does."""
    while True:
        before = layers
        for depth, layer in enumerate(before[1:], start=1):
            for state in layer:
                exchanged = [_exchange(layers, depth, state, other) for other in layer]
                layers = min([layers, *exchanged], key=lambda order: _tangle(order[depth - 1 :], sources))
        if layers == before:
            return layers


def _exchange(layers: LayeredStates, depth: int, first: int, second: int) -> LayeredStates:
    """Return the layers with two states exchanged in one layer and in every later one that has both."""
    other = {first: second, second: first}
    exchanged = (
        tuple(other.get(state, state) for state in layer) if {first, second} <= set(layer) else layer
        for layer in layers[depth:]
    )
    return (*layers[:depth], *exchanged)


def _tangle(layers: LayeredStates, sources: Sources) -> tuple[int, float]:
    """Return how many pairs of wires cross; among equals, how far the wires climb in shares of the layers' heights."""
    crossings, climb = 0, 0.0
    for upper, lower in pairwise(layers):
        ranks = [upper.index(arrival.source) for arrival in arrivals_of(upper, lower, sources)]
        crossings += sum(first > second for first, second in combinations(ranks, 2))
        climb += sum(abs((rank + 0.5) / len(upper) - (i + 0.5) / len(ranks)) for i, rank in enumerate(ranks))
    return crossings, round(climb, 6)
