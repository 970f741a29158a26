"""How high each state stands in the layers of a cell's figure, in inches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from search_space.cells.dag_paths import Sources
from search_space.drawing.layer_order import OPERATION_PITCH, Gaps, LayeredStates

SWEEPS = 200
LANE_STIFFNESS, LEVEL = 12.0, 2.0  # how much more a lane wants to be level than other wires; see _heights
SPACE, INPUT_REACH = 0.15, 0.3  # between neighbours in a layer; half the room of an input

Position = tuple[float, float]
Place = tuple[int, int]  # a layer and a state in it
Heights = dict[Place, float]


def heights_of(layers: LayeredStates, gaps: Gaps, sources: Sources) -> Heights:
    """Return the y of every state in every layer, found one layer at a time: wires as level as the room allows.

    A wire that climbs by c costs c^2 + 2 LEVEL |c|, lanes more: least squares, reweighted with a falling tolerance.
    """
    heights = {(depth, state): 0.0 for depth, layer in enumerate(layers) for state in layer}
    wishes: dict[Place, list[tuple[Place, float, float]]] = {place: [] for place in heights}
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


def _spaces(layers: LayeredStates, depth: int, sources: Sources) -> list[float]:
    """Return distances from centre to centre of neighbours: inputs, nodes with their operations, lanes (thin)."""

    def reach(state: int) -> float:
        if depth == 0:
            return INPUT_REACH
        return 0.0 if state in layers[depth - 1] else len(sources[state]) * OPERATION_PITCH / 2

    return [reach(upper) + reach(lower) + SPACE for upper, lower in pairwise(layers[depth])]


def _pull(heights: Heights, place: Place, wishes: list[tuple[Place, float, float]], tolerance: float) -> Position:
    """Find where its wires want a place, with what weight. wishes: (other end, offset from it, stiffness)."""
    pulls = [(0.0, 1e-3)]
    for other, offset, stiffness in wishes:
        y = heights[other] + offset
        pulls.append((y, stiffness * (1 + LEVEL / (abs(y - heights[place]) + tolerance))))
    return _mean(pulls)


def _mean(pulls: Sequence[Position]) -> Position:
    """Return the mean and total weight of (value, weight)."""
    total = sum(weight for _, weight in pulls)
    return sum(value * weight for value, weight in pulls) / total, total


def _spaced(pulls: Sequence[Position], spaces: Sequence[float]) -> list[float]:
    """The heights nearest to the wanted ones with at least the given spaces between neighbours, in least squares.

    Less the spaces above it, a height may not fall: isotonic regression, solved by pooling adjacent violators.
    """
    above = list(accumulate(spaces, initial=0.0))
    pools: list[list[Position]] = []
    for (value, weight), space in zip(pulls, above, strict=True):
        pools.append([(value - space, weight)])
        while len(pools) > 1 and _mean(pools[-2]) > _mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    levels = [_mean(pool)[0] for pool in pools for _ in pool]
    return [level + space for level, space in zip(levels, above, strict=True)]
