"""The likeliest way to fill a cell's edges at each cost, by which all cells can be looked through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from search_space.cells.dag_paths import all_paths
from search_space.cells.space import SearchSpace

LEFT_OUT = -1


@dataclass(frozen=True)
class CellsByCost:
    """For each distinct cost, the highest-scoring assignment of operations to edges.

    costs: [assignments, quantities].  scores: [assignments], sums over the edges that are filled.
    operations: [assignments, edges], the index of each edge's operation, LEFT_OUT where it is not filled.
    """

    costs: NDArray[np.int64]
    scores: NDArray[np.float64]
    operations: NDArray[np.int8]

    @classmethod
    def best(cls, ways: Iterable[Self]) -> Self:
        """Keep the highest-scoring assignment of each cost."""
        costs, scores, operations = (
            np.concatenate(parts)
            for parts in zip(*((way.costs, way.scores, way.operations) for way in ways), strict=True)
        )
        order = np.lexsort((-scores, *costs.T))
        first = np.ones(len(order), dtype=bool)
        first[1:] = (np.diff(costs[order], axis=0) != 0).any(axis=1)
        kept = order[first]
        return cls(costs[kept], scores[kept], operations[kept])

    def joined(self, other: Self) -> Self:
        """Combine with assignments of disjoint edges and keep the best of each cost."""
        costs = self.costs[:, None] + other.costs
        scores = self.scores[:, None] + other.scores
        operations = np.maximum(self.operations[:, None], other.operations)
        every = costs.reshape(-1, costs.shape[2]), scores.ravel(), operations.reshape(-1, operations.shape[2])
        return self.best([type(self)(*every)])


def cells_by_cost(space: SearchSpace, kind: int, costs: Tensor, scores: Tensor) -> CellsByCost:
    """Find the highest-scoring cell of each cost among all that the space holds of a kind.

    costs: [edges, operations, quantities], whole numbers.  scores: [edges, operations].
    """

    def of_edge(edge: int, mask: Tensor) -> CellsByCost:
        chosen = mask[edge].nonzero().flatten().numpy()
        operations = np.full((len(chosen), len(mask)), LEFT_OUT, dtype=np.int8)
        operations[:, edge] = chosen
        return CellsByCost.best(
            [CellsByCost(costs[edge].long().numpy()[chosen], scores[edge].double().numpy()[chosen], operations)]
        )

    held = [of_edge(edge, space.keepable[kind]) for edge in range(len(space.edges))]
    if space.keeps_all:  # the edges of a path pass the input on, the others are free
        passing = [of_edge(edge, space.passing[kind]) for edge in range(len(space.edges))]
        cells = ([passing[e] if e in path else held[e] for e in range(len(held))] for path in all_paths(space.sources))
        return CellsByCost.best(reduce(CellsByCost.joined, cell) for cell in cells)
    return reduce(CellsByCost.joined, _nodes(space.sources, held))


def _nodes(sources: Sequence[Sequence[int]], held: Sequence[CellsByCost]) -> Iterator[CellsByCost]:
    """Yield the assignments of each node, which keeps two of its edges."""
    first = 0
    for read in sources:
        yield CellsByCost.best(one.joined(other) for one, other in combinations(held[first : first + len(read)], 2))
        first += len(read)
