"""A search space, and the step from real-valued alphas to a genotype."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from search_space.cells.choices import SpaceChoices
from search_space.cells.dag_paths import lightest_path
from search_space.cells.families import FAMILIES
from search_space.cells.genotype import BLOCKING, Cell, Edge, Genotype

NORMAL, REDUCTION = 0, 1
"""Rows of the alphas: the alphas of a search are one tensor [cells, edges, operations]."""


class SearchSpace(SpaceChoices):
    """The cells of `SpaceChoices`, and what alphas [cells, edges, operations] say of them."""

    @cached_property
    def mask(self) -> Tensor:
        """Say which operations each edge may hold: booleans [cells, edges, operations]."""
        of_cells = [edges or (self.operations,) * len(self.edges) for edges in (self.normal, self.reduction)]
        rows = [[[name in names for name in self.operations] for names in edges] for edges in of_cells[: self.cells]]
        return torch.tensor(rows)

    @cached_property
    def keepable(self) -> Tensor:
        """Return the mask of the operations that a derived cell may hold."""
        return self.mask & torch.tensor([index in self.candidates for index in range(len(self.operations))])

    @cached_property
    def passing(self) -> Tensor:
        """Return the mask of the operations whose output depends on what they are applied to."""
        return self.mask & torch.tensor([name not in BLOCKING for name in self.operations])

    def masked(self, alphas: Tensor) -> Tensor:
        """Return the alphas with -inf where an edge may not hold the operation: no probability, no gradient."""
        if self.normal is None and self.reduction is None:
            return alphas
        if alphas.device not in self._absent:
            self._absent[alphas.device] = (~self.mask).to(alphas.device)
        return alphas.masked_fill(self._absent[alphas.device], -torch.inf)

    @cached_property
    def _absent(self) -> dict[torch.device, Tensor]:
        """Keep where an edge may not hold an operation, by device: sent there once."""
        return {}

    def probabilities(self, alphas: Tensor) -> Tensor:
        """Return each operation's probability on each edge, [cells, edges, operations]: softmax of what it may hold."""
        return torch.softmax(self.masked(alphas), dim=-1)

    def kept(self, sources: Sequence[int]) -> int:
        """Return how many of the edges from these sources a node of a derived cell keeps."""
        return FAMILIES[self.family].kept or len(sources)

    def derive(self, alphas: Tensor) -> Genotype:
        """The genotype of alphas [cells, edges, operations]: the strongest edges of each node, each its best operation.

        An edge is as strong as the probability (softmax over its row) of its best operation other than none. Ties go to
        the earlier source and the earlier operation. Where every edge is kept, none is an operation like the others,
        and the cell is the most probable one that has a way from its input to its output.
        Raises ValueError on another shape or a value that is not finite.
        """
        self.check_alphas(alphas)
        return self.strongest(self.probabilities(alphas.detach().double().cpu()))

    def random_genotype(self, generator: torch.Generator) -> Genotype:
        """Uniform over edges and operations, of what reads its input; the baseline that a search has to beat."""
        while True:
            chances = torch.rand(self.alpha_shape, generator=generator, dtype=torch.float64)
            strengths = torch.rand(self.alpha_shape[:2], generator=generator, dtype=torch.float64)
            genotype = self.assemble(strengths, chances.masked_fill(~self.keepable, -1).argmax(dim=-1))
            if not self.keeps_all or genotype.normal.passes_on(True):
                return genotype

    def strongest(self, scores: Tensor) -> Genotype:
        """The genotype of the strongest edges, by scores [cells, edges, operations] of at least 0; else as `derive`."""
        # -1 is below every score: where all candidates underflowed to 0 the best is still one that the edge may hold
        strengths, best = scores.masked_fill(~self.keepable, -1).max(dim=-1)
        if self.keeps_all:
            self._connect(scores, strengths, best)
        return self.assemble(strengths, best)

    def _connect(self, scores: Tensor, strengths: Tensor, best: Tensor) -> None:
        """Open, in place, the path from input to output that loses least by it, as a product of scores."""
        other, passing = scores.masked_fill(~self.passing, -1).max(dim=-1)
        smallest = torch.finfo(scores.dtype).tiny
        # 0 on an edge whose best operation passes its input on: a cell that has a way through stays as it is
        losses = strengths.clamp_min(smallest).log() - other.clamp_min(smallest).log()
        for kind, weights in enumerate(losses.tolist()):
            path = list(lightest_path(self.sources, weights))
            best[kind, path] = passing[kind, path]

    def assemble(self, strengths: Tensor, best: Tensor) -> Genotype:
        """Make the genotype of the strengths of edges [cells, edges] and the operation of each."""
        cells = [self._cell(*of_cell) for of_cell in zip(strengths.tolist(), best.tolist(), strict=True)]
        return Genotype(cells[NORMAL], cells[REDUCTION] if self.cells > 1 else None)

    def _cell(self, strengths: Sequence[float], best: Sequence[int]) -> Cell:
        nodes, first = [], 0
        for sources in self.sources:
            by_strength = sorted(sources, key=lambda source: (-strengths[first + source], source))
            kept = sorted(by_strength[: self.kept(sources)])
            names = (self.operations[best[first + source]] for source in kept)
            nodes.append(tuple(Edge(name, source) for name, source in zip(names, kept, strict=True)))
            first += len(sources)
        return Cell(tuple(nodes), self.concat, self.inputs)

    def one_hot(self, genotype: Genotype) -> Tensor:
        """Probabilities [cells, edges, operations], float64: 1 on an edge's operation, on none where it is left out.

        An edge that is left out and may not hold none is a zero row. Raises ValueError when the genotype is not one of
        the space, that is, when it has other nodes, edges or operations.
        """
        self.check_member(genotype)
        probabilities = torch.zeros(self.alpha_shape, dtype=torch.float64)
        if "none" in self.operations:
            none = self.operations.index("none")
            probabilities[..., none] = self.mask[..., none].double()
        for row, cell in zip(probabilities, genotype.cells.values(), strict=True):
            for edge, operation in self.held(cell):
                row[edge] = 0
                row[edge, operation] = 1
        return probabilities

    def check_alphas(self, alphas: Tensor) -> None:
        """Raise ValueError unless alphas are finite and [cells, edges, operations]."""
        if tuple(alphas.shape) != self.alpha_shape:
            raise ValueError(f"alphas of this space are {list(self.alpha_shape)}, found {list(alphas.shape)}")
        if not bool(torch.isfinite(alphas).all()):
            raise ValueError("alphas are not finite")

    def check_member(self, genotype: Genotype) -> None:
        """Raise ValueError unless a search of this space could derive the genotype."""
        cells = genotype.cells.values()
        if len(cells) != self.cells or not all(map(self._is_member, cells, self.keepable)):
            kept = FAMILIES[self.family].kept or "all"
            raise ValueError(
                f"the genotype is not one of the space: {self.cells} cells of {self.inputs} inputs and {self.nodes} "
                f"nodes, {kept} edges a node from different states, operations "
                + ", ".join(self.operations[index] for index in self.candidates)
                + (", not all on every edge" if not bool(self.mask.all()) else "")
            )

    def _is_member(self, cell: Cell, mask: Tensor) -> bool:
        if cell.inputs != self.inputs or len(cell.nodes) != self.nodes or set(cell.concat) != set(self.concat):
            return False
        for sources, edges in zip(self.sources, cell.nodes, strict=True):
            if not len({edge.source for edge in edges}) == len(edges) == self.kept(sources):
                return False
        known = all(edge.operation in self.operations for edge in cell.edges)
        if self.keeps_all and not cell.passes_on(True):
            return False
        return known and all(bool(mask[held]) for held in self.held(cell))

    def held(self, cell: Cell) -> list[tuple[int, int]]:
        """Edge and operation, as indices of the alphas, of each edge of a cell."""
        held, first = [], 0
        for sources, edges in zip(self.sources, cell.nodes, strict=True):
            held += [(first + edge.source, self.operations.index(edge.operation)) for edge in edges]
            first += len(sources)
        return held
