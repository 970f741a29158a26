"""Ways through a cell that keeps all its edges, from its input to its output.

Where an edge may hold none, a cell may have no way through, and its network would give every image the same logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Sources = Sequence[Sequence[int]]  # of every node, the states that it reads; state 0 is the input, the last the output


def lightest_path(sources: Sources, weights: Sequence[float]) -> tuple[int, ...]:
    """Return the edges of the path with the smallest sum of weights [edges]; ties go to the earlier source."""
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    first = 0
    for read in sources:
        ways = ((best[source][0] + weights[first + k], (*best[source][1], first + k)) for k, source in enumerate(read))
        best.append(min(ways, key=lambda way: way[0]))
        first += len(read)
    return best[-1][1]


def all_paths(sources: Sources) -> Iterator[tuple[int, ...]]:
    """Yield the edges of every path."""
    ways: list[list[tuple[int, ...]]] = [[()]]
    first = 0
    for read in sources:
        ways.append([(*way, first + k) for k, source in enumerate(read) for way in ways[source]])
        first += len(read)
    yield from ways[-1]
