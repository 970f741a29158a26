"""The cost of every network of a search space at one shape: exact, expected, and what can be reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from search_space.cells.genotype import Genotype
from search_space.cells.space import SearchSpace
from search_space.cost.cost_frontier import LEFT_OUT, CellsByCost, cells_by_cost
from search_space.cost.network_cost import NetworkShape, cells_by_kind, edge_cost, fixed_cost
from search_space.places import entries
from search_space.quantities import QUANTITIES, PartCost

Bounds = Mapping[str, tuple[float | None, float | None]]
"""Quantity -> lower and upper bound of a network; a side that is None is open."""


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
        self._placed: dict[torch.device, tuple[Tensor, Tensor]] = {}
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
        chosen = entries(probabilities.double(), self.space.candidates)
        mass = chosen.sum(dim=-1, keepdim=True)
        conditional = chosen / mass.clamp_min(torch.finfo(torch.float64).tiny)
        strengths = chosen.amax(dim=-1)
        all_kept = self.space.keeps_all
        keep = torch.ones_like(strengths) if all_kept else keep_probabilities(strengths, self.space.sources)
        fixed, costs = self._on(probabilities.device)
        return fixed + torch.einsum("ce,ceo,ceoq->q", keep, conditional, costs)

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the fixed part and the costs of the candidates on a device, where they stay."""
        if device not in self._placed:
            costs = self.edges[:, :, list(self.space.candidates)]
            self._placed[device] = self.fixed.to(device), costs.to(device)
        return self._placed[device]

    def exact(self, genotype: Genotype) -> Tensor:
        """Cost [quantities] of the network of a genotype of the space."""
        kept = self.space.one_hot(genotype)[..., None] * self.edges
        return self.fixed + kept.sum(dim=(0, 1, 2))

    def attainable(self, bounds: Bounds) -> bool:
        """Return whether any network of the space keeps all bounds at once; by enumeration of their distinct costs."""
        return not bounds or self._best_inside(torch.zeros_like(self.edges[..., 0]), bounds) is not None

    def likeliest(self, strengths: Tensor, bounds: Bounds) -> Genotype | None:
        """Find the genotype with the largest product of strengths whose network keeps all bounds; None without one.

        strengths: [cells, edges, operations], at least 0, of which the product is taken over the kept edges: as
        `SearchSpace.strongest` derives without bounds. All costs are looked through, and nothing is sampled.
        """
        smallest = torch.finfo(torch.float64).tiny  # strengths that underflowed are still told from what may not be
        found = self._best_inside(strengths.detach().double().cpu().clamp_min(smallest).log(), bounds)
        if found is None:
            return None
        chosen = torch.zeros(self.space.alpha_shape, dtype=torch.float64)
        for kind, operations in enumerate(found):
            for edge, operation in enumerate(operations.tolist()):
                if operation != LEFT_OUT:
                    chosen[kind, edge, operation] = 1
        return self.space.strongest(chosen)

    def _best_inside(self, scores: Tensor, bounds: Bounds) -> tuple[NDArray[np.int8], ...] | None:
        """Operations [edges] of each kind of cell, of the largest sum of scores inside the bounds."""
        indices = [QUANTITIES.index(quantity) for quantity in bounds]
        first, *others = self._cells_by_cost(indices, scores)
        last = others[0] if others else None
        lower = np.array([-np.inf if low is None else low for low, _ in bounds.values()])
        upper = np.array([np.inf if high is None else high for _, high in bounds.values()])
        fixed = self.fixed[indices].numpy()
        best, place = -np.inf, None
        for row, (cost, score) in enumerate(zip(first.costs, first.scores, strict=True)):
            total = fixed + cost + (np.zeros((1, len(indices))) if last is None else last.costs)
            inside = np.flatnonzero(((lower <= total) & (total <= upper)).all(axis=1))
            if len(inside):
                scored = score + (np.zeros(1) if last is None else last.scores[inside])
                if scored.max() > best:
                    best, place = scored.max(), (row, inside[scored.argmax()])
        if place is None:
            return None
        return tuple(ways.operations[index] for ways, index in zip((first, *others), place, strict=False))

    def _cells_by_cost(self, quantities: Sequence[int], scores: Tensor) -> list[CellsByCost]:
        """Find the best cells by cost of each kind."""
        costs = self.edges[..., quantities]
        return [cells_by_cost(self.space, kind, costs[kind], scores[kind]) for kind in range(self.space.cells)]

    def reachable(self, quantity: str) -> tuple[int, int]:
        """Return the smallest and largest value of one quantity over all networks of the space."""
        index = QUANTITIES.index(quantity)
        cells = self._cells_by_cost([index], torch.zeros_like(self.edges[..., 0]))
        fixed = int(self.fixed[index])
        return (
            fixed + sum(int(cell.costs.min()) for cell in cells),
            fixed + sum(int(cell.costs.max()) for cell in cells),
        )


def keep_probabilities(strengths: Tensor, sources: tuple[tuple[int, ...], ...]) -> Tensor:
    """Probability that each edge is among the two its node keeps. strengths: [cells, edges] -> [cells, edges].

    Two edges are drawn without replacement in proportion to their strengths (Plackett 1975; Luce 1959), so that the
    values of a node sum to 2: p_i = w_i + sum over j != i of w_j w_i / (1 - w_j), with w the strengths over their sum.
    """
    kept, first = [], 0
    for node_sources in sources:
        node = strengths[:, first : first + len(node_sources)]
        weights = node / node.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(node.dtype).tiny)
        different = 1 - torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device)
        others = weights.unsqueeze(-1).expand(-1, -1, weights.shape[-1]) * different
        rest = others.sum(dim=1).clamp_min(torch.finfo(node.dtype).eps)  # 1 - w_j without cancellation
        second = (weights / rest).unsqueeze(1) * different
        kept.append(weights + weights * second.sum(dim=-1))
        first += len(node_sources)
    return torch.cat(kept, dim=-1)


def _to_tensor(cost: PartCost) -> Tensor:
    return torch.tensor([getattr(cost, quantity) for quantity in QUANTITIES], dtype=torch.float64)
