"""What a search chooses from, and the step from real-valued alphas to a genotype."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from search_space.genotype import CELL_INPUTS, Cell, Edge, Genotype
from search_space.operations import OPERATIONS

NORMAL, REDUCTION = 0, 1
"""Rows of the alphas: the alphas of a search are one tensor [2, edges, operations]."""

DARTS_OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)


@dataclass(frozen=True)
class SearchSpace:
    """All cells of `nodes` nodes in which each node keeps two edges from earlier states (Liu et al. 2019).

    In the search every node i reads all i + 2 earlier states, so a cell has 2 + 3 + ... + (nodes + 1) mixed edges.
    """

    nodes: int = 4
    operations: tuple[str, ...] = DARTS_OPERATIONS

    def __post_init__(self) -> None:
        if not isinstance(self.nodes, int) or self.nodes < 1:
            raise ValueError(f"a cell needs at least one node, found nodes={self.nodes!r}")
        unknown = [name for name in self.operations if name not in OPERATIONS]
        if unknown:
            raise ValueError(f"unknown operations {unknown}; known are {', '.join(OPERATIONS)}")
        if len(set(self.operations)) != len(self.operations):
            raise ValueError(f"each operation is named once, found {list(self.operations)}")
        if not self.candidates:
            raise ValueError("a search needs at least one operation other than none")

    @property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """The states that each node reads."""
        return tuple(tuple(range(node + CELL_INPUTS)) for node in range(self.nodes))

    @property
    def edges(self) -> tuple[int, ...]:
        """The source of every mixed edge of a cell, node by node: the second index of the alphas."""
        return tuple(source for sources in self.sources for source in sources)

    @property
    def concat(self) -> tuple[int, ...]:
        """The output of a cell concatenates all its nodes."""
        return tuple(range(CELL_INPUTS, CELL_INPUTS + self.nodes))

    @property
    def candidates(self) -> tuple[int, ...]:
        """Indices of the operations that a derived cell may hold: all but none."""
        return tuple(index for index, name in enumerate(self.operations) if name != "none")

    @property
    def alpha_shape(self) -> tuple[int, int, int]:
        """Cells, edges, operations."""
        return 2, len(self.edges), len(self.operations)

    def derive(self, alphas: Tensor) -> Genotype:
        """The genotype of alphas [2, edges, operations]: two strongest edges a node, best operation other than none.

        An edge is as strong as the probability (softmax over its row) of its best operation. Ties go to the earlier
        source and the earlier operation. Raises ValueError on another shape or a value that is not finite.
        """
        self.check_alphas(alphas)
        probabilities = torch.softmax(alphas.detach().double().cpu(), dim=-1)[..., list(self.candidates)]
        normal, reduction = (self._derive_cell(cell) for cell in probabilities)
        return Genotype(normal, reduction)

    def _derive_cell(self, probabilities: Tensor) -> Cell:
        strengths, best = probabilities.max(dim=-1)
        nodes, first = [], 0
        for sources in self.sources:
            by_strength = sorted(sources, key=lambda source: (-strengths[first + source].item(), source))
            kept = sorted(by_strength[:2])
            names = (self.operations[self.candidates[int(best[first + source])]] for source in kept)
            nodes.append(tuple(Edge(name, source) for name, source in zip(names, kept, strict=True)))
            first += len(sources)
        return Cell(tuple(nodes), self.concat)

    def one_hot(self, genotype: Genotype) -> Tensor:
        """Probabilities [2, edges, operations], float64, that put 1 on each edge's operation and 1 on none elsewhere.

        Without none among the operations the other edges are zero rows. Raises ValueError when the genotype is not one
        of the space, that is, when it has other nodes, edges or operations.
        """
        probabilities = torch.zeros(self.alpha_shape, dtype=torch.float64)
        if "none" in self.operations:
            probabilities[..., self.operations.index("none")] = 1
        for row, cell in zip(probabilities, (genotype.normal, genotype.reduction), strict=True):
            self._check_member(cell)
            first = 0
            for sources, edges in zip(self.sources, cell.nodes, strict=True):
                for edge in edges:
                    row[first + edge.source] = 0
                    row[first + edge.source, self.operations.index(edge.operation)] = 1
                first += len(sources)
        return probabilities

    def random_genotype(self, generator: torch.Generator) -> Genotype:
        """Uniform over edges and operations; the baseline that a search has to beat."""
        return self.derive(torch.rand(self.alpha_shape, generator=generator, dtype=torch.float64))

    def check_alphas(self, alphas: Tensor) -> None:
        """Raise ValueError unless alphas are finite and [2, edges, operations]."""
        if tuple(alphas.shape) != self.alpha_shape:
            raise ValueError(f"alphas of this space are {list(self.alpha_shape)}, found {list(alphas.shape)}")
        if not bool(torch.isfinite(alphas).all()):
            raise ValueError("alphas are not finite")

    def _check_member(self, cell: Cell) -> None:
        two_distinct = all(len({edge.source for edge in edges}) == len(edges) == 2 for edges in cell.nodes)
        known = all(edge.operation in self.operations for edge in cell.edges)
        if len(cell.nodes) != self.nodes or not two_distinct or not known or set(cell.concat) != set(self.concat):
            raise ValueError(
                f"the cell is not one of the space: {self.nodes} nodes, two edges a node from different states, "
                f"all nodes concatenated, operations {', '.join(self.operations)}"
            )
