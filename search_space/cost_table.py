"""The cost of every network of a search space at one shape: exact, expected, and what can be reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search_space.cost import QUANTITIES, NetworkShape, PartCost, cells_by_kind, edge_cost, fixed_cost
from search_space.genotype import Genotype
from search_space.paths import all_paths
from search_space.space import SearchSpace


class CostTable:
    """Cost of every network of a search space at one shape, as fixed part + sum over kept operations.

    fixed: [quantities].  edges: [cells, edges, operations, quantities], summed over the cells of a kind; none costs 0.
    Both float64, exact below 2**53. QUANTITIES gives the last dimension.
    """

    def __init__(self, space: SearchSpace, shape: NetworkShape) -> None:
        self.space = space
        self.shape = shape
        skeleton = shape.skeleton(space.widths)
        self.fixed = _to_tensor(fixed_cost(shape, skeleton))
        self.edges = torch.zeros(*space.alpha_shape, len(QUANTITIES), dtype=torch.float64)
        for row, plan in cells_by_kind(skeleton):
            for edge, source in enumerate(space.edges):
                for index in space.candidates:
                    cost = edge_cost(space.operations[index], source, plan)
                    self.edges[row, edge, index] += _to_tensor(cost)

    def expected(self, probabilities: Tensor) -> Tensor:
        """Expected cost [quantities] of the network to be derived, differentiable in the probabilities.

        probabilities: [cells, edges, operations], rows sum to 1 (`SearchSpace.probabilities` of the alphas).
        An edge holds operation o with probability p_o / (1 - p_none) and is kept with the probability that it is among
        two edges drawn one after the other in proportion to their strengths, the best p_o of each edge. Where a space
        keeps all edges, they hold o, none too, with p_o. At the one-hot probabilities of a genotype
        (`SearchSpace.one_hot`) this is the exact cost of its network.
        """
        candidates = list(self.space.candidates)
        chosen = probabilities.double()[..., candidates]
        mass = chosen.sum(dim=-1, keepdim=True)
        conditional = chosen / mass.clamp_min(torch.finfo(torch.float64).tiny)
        strengths = chosen.amax(dim=-1)
        all_kept = self.space.keeps_all
        keep = torch.ones_like(strengths) if all_kept else keep_probabilities(strengths, self.space.sources)
        costs = self.edges.to(probabilities.device)[:, :, candidates]
        kept_cost = torch.einsum("ce,ceo,ceoq->q", keep, conditional, costs)
        return self.fixed.to(probabilities.device) + kept_cost

    def exact(self, genotype: Genotype) -> Tensor:
        """Cost [quantities] of the network of a genotype of the space."""
        kept = self.space.one_hot(genotype)[..., None] * self.edges
        return self.fixed + kept.sum(dim=(0, 1, 2))

    def attainable(self, bounds: Mapping[str, tuple[float | None, float | None]]) -> bool:
        """Whether any network of the space keeps all bounds (quantity -> lower, upper) at once; by enumeration."""
        if not bounds:
            return True
        indices = [QUANTITIES.index(quantity) for quantity in bounds]
        first, *others = (self._distinct_cells(kind, indices) for kind in range(self.space.cells))
        last = others[0] if others else np.zeros((1, len(indices)), dtype=np.int64)
        lower = np.array([-np.inf if low is None else low for low, _ in bounds.values()])
        upper = np.array([np.inf if high is None else high for _, high in bounds.values()])
        fixed = self.fixed[indices].numpy()
        sums = (fixed + costs + last for costs in first)
        return any(bool(((lower <= total) & (total <= upper)).all(axis=1).any()) for total in sums)

    def _distinct_cells(self, kind: int, quantities: Sequence[int]) -> NDArray[np.int64]:
        """All distinct costs of a kind of cell: [cells, quantities]."""
        costs, space = self.edges[kind][..., quantities].long(), self.space
        held = [_distinct(of_edge[mask]) for of_edge, mask in zip(costs, space.keepable[kind], strict=True)]
        if space.keeps_all:  # the edges of a path pass the input on, the others are free
            passing = [_distinct(of_edge[mask]) for of_edge, mask in zip(costs, space.passing[kind], strict=True)]
            cells = (
                [passing[e] if e in path else held[e] for e in range(len(held))] for path in all_paths(space.sources)
            )
            return np.unique(np.concatenate([reduce(_distinct_sums, cell) for cell in cells]), axis=0)
        nodes, first = [], 0
        for sources in space.sources:
            pairs = combinations(held[first : first + len(sources)], 2)
            nodes.append(np.unique(np.concatenate([_distinct_sums(*pair) for pair in pairs]), axis=0))
            first += len(sources)
        return reduce(_distinct_sums, nodes)

    def reachable(self, quantity: str) -> tuple[int, int]:
        """Smallest and largest value of one quantity over all networks of the space."""
        index = QUANTITIES.index(quantity)
        cells = [self._distinct_cells(kind, [index]) for kind in range(self.space.cells)]
        fixed = int(self.fixed[index])
        return fixed + sum(int(cell.min()) for cell in cells), fixed + sum(int(cell.max()) for cell in cells)


def keep_probabilities(strengths: Tensor, sources: tuple[tuple[int, ...], ...]) -> Tensor:
    """Probability that each edge is among the two its node keeps. strengths: [cells, edges] -> [cells, edges].

    Two edges are drawn without replacement in proportion to their strengths (Plackett 1975; Luce 1959), so that the
    values of a node sum to 2: p_i = w_i + sum over j != i of w_j w_i / (1 - w_j), with w the strengths over their sum.
    """
    kept, first = [], 0
    for node_sources in sources:
        node = strengths[:, first : first + len(node_sources)]
        weights = node / node.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(node.dtype).tiny)
        others = weights.unsqueeze(-1).expand(-1, -1, weights.shape[-1]) * (
            1 - torch.eye(weights.shape[-1]).to(weights)
        )
        rest = others.sum(dim=1).clamp_min(torch.finfo(node.dtype).eps)  # 1 - w_j without cancellation
        second = (weights / rest).unsqueeze(1) * (1 - torch.eye(weights.shape[-1]).to(weights))
        kept.append(weights + weights * second.sum(dim=-1))
        first += len(node_sources)
    return torch.cat(kept, dim=-1)


def _distinct(costs: Tensor) -> NDArray[np.int64]:
    return np.unique(costs.numpy(), axis=0)


def _distinct_sums(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique((left[:, None] + right[None]).reshape(-1, left.shape[-1]), axis=0)


def _to_tensor(cost: PartCost) -> Tensor:
    return torch.tensor([getattr(cost, quantity) for quantity in QUANTITIES], dtype=torch.float64)
