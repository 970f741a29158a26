"""What a search chooses from, and the step from real-valued alphas to a genotype."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor

from search_space.cells.dag_paths import lightest_path
from search_space.cells.genotype import BLOCKING, CELL_INPUTS, Cell, Edge, Genotype
from search_space.network.operations import OPERATIONS

NORMAL, REDUCTION = 0, 1
"""Rows of the alphas: the alphas of a search are one tensor [cells, edges, operations]."""

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

EdgeOperations = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Family:
    """What the cells of a search space have in common.

    inputs: states of a cell that come from outside.  cells: kinds of cells that are searched, the rows of the alphas.
    kept: edges that a node of a derived cell keeps, the strongest; None for all, and then an edge may hold none.
    """

    inputs: int
    cells: int
    kept: int | None


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "darts": Family(inputs=CELL_INPUTS, cells=2, kept=2),  # Liu et al. 2019
        "nasbench201": Family(inputs=1, cells=1, kept=None),  # Dong & Yang 2020
    }
)


@dataclass(frozen=True)
class SearchSpace:
    """All cells of `nodes` nodes in which each node reads earlier states, in the search all of them.

    operations: what edges may hold.  normal, reduction: what each edge of that kind of cell may hold, where that is
    less, in the order of `edges` (Zela et al. 2020); None for all operations.  family: a key of FAMILIES.
    A DARTS cell has 2 + 3 + ... + (nodes + 1) edges in the search, one of NAS-Bench-201 1 + 2 + ... + nodes.
    """

    nodes: int = 4
    operations: tuple[str, ...] = DARTS_OPERATIONS
    normal: EdgeOperations | None = None
    reduction: EdgeOperations | None = None
    family: str = "darts"

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"unknown family {self.family!r}; known are {', '.join(FAMILIES)}")
        if not isinstance(self.nodes, int) or self.nodes < 1:
            raise ValueError(f"a cell needs at least one node, found nodes={self.nodes!r}")
        unknown = [name for name in self.operations if name not in OPERATIONS]
        if unknown:
            raise ValueError(f"unknown operations {unknown}; known are {', '.join(OPERATIONS)}")
        repeated = {name: count for name, count in Counter(self.operations).items() if count > 1}
        if repeated:
            found = ", ".join(f"{name} {count} times" for name, count in repeated.items())
            raise ValueError(f"each operation is named once, found {found}")
        if not set(self.operations) - self._idle:
            raise ValueError(f"a search needs at least one operation other than {' and '.join(sorted(self._idle))}")
        if self.reduction is not None and self.cells == 1:
            raise ValueError(f"a space of family {self.family} has no reduction cell")
        for name, edges in (("normal", self.normal), ("reduction", self.reduction)):
            self._check_edges(name, edges)

    def _check_edges(self, name: str, edges: EdgeOperations | None) -> None:
        if edges is None:
            return
        if len(edges) != len(self.edges):
            raise ValueError(
                f"{name}: a cell of {self.nodes} nodes has {len(self.edges)} edges, found operations of {len(edges)}"
            )
        for edge, names in enumerate(edges):
            if not set(names) <= set(self.operations) or len(set(names)) != len(names):
                raise ValueError(f"{name}: edge {edge} holds some of operations, each once; found {list(names)}")
            if not set(names) - self._idle:
                raise ValueError(f"{name}: edge {edge} has no operation to keep; found {list(names)}")

    @property
    def _idle(self) -> frozenset[str]:
        """Operations that are not enough for an edge: with them alone it cannot be kept, or passes nothing on."""
        return BLOCKING if self.keeps_all else frozenset({"none"})

    @property
    def inputs(self) -> int:
        """Return the number of states of a cell that come from outside."""
        return FAMILIES[self.family].inputs

    @property
    def cells(self) -> int:
        """Return the number of kinds of cells."""
        return FAMILIES[self.family].cells

    @property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """Return the states that each node reads."""
        return tuple(tuple(range(node + self.inputs)) for node in range(self.nodes))

    @property
    def edges(self) -> tuple[int, ...]:
        """Return the source of every mixed edge of a cell, node by node: the second index of the alphas."""
        return tuple(source for sources in self.sources for source in sources)

    @property
    def edge_names(self) -> tuple[str, ...]:
        """Source and node of every mixed edge."""
        nodes = enumerate(self.sources, start=self.inputs)
        return tuple(f"{source} → {node}" for node, sources in nodes for source in sources)

    @property
    def concat(self) -> tuple[int, ...]:
        """Return what the output of a cell concatenates: all its nodes, or (NAS-Bench-201) the last."""
        last = self.inputs + self.nodes
        return tuple(range(self.inputs, last)) if self.cells > 1 else (last - 1,)

    @property
    def widths(self) -> tuple[int, ...]:
        """Return the number of concatenated states of each kind of cell."""
        return (len(self.concat),) * self.cells

    @property
    def keeps_all(self) -> bool:
        """Return whether a derived cell keeps every edge, which then may hold none."""
        return FAMILIES[self.family].kept is None

    @property
    def candidates(self) -> tuple[int, ...]:
        """Indices of the operations that a derived cell may hold: all, without none unless all edges are kept."""
        return tuple(index for index, name in enumerate(self.operations) if self.keeps_all or name != "none")

    @property
    def alpha_shape(self) -> tuple[int, int, int]:
        """Cells, edges, operations."""
        return self.cells, len(self.edges), len(self.operations)

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
        return alphas.masked_fill(~self.mask.to(alphas.device), -torch.inf)

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
            genotype = self._genotype(strengths, chances.masked_fill(~self.keepable, -1).argmax(dim=-1))
            if not self.keeps_all or genotype.normal.passes_on(True):
                return genotype

    def strongest(self, scores: Tensor) -> Genotype:
        """The genotype of the strongest edges, by scores [cells, edges, operations] of at least 0; else as `derive`."""
        # -1 is below every score: where all candidates underflowed to 0 the best is still one that the edge may hold
        strengths, best = scores.masked_fill(~self.keepable, -1).max(dim=-1)
        if self.keeps_all:
            self._connect(scores, strengths, best)
        return self._genotype(strengths, best)

    def _connect(self, scores: Tensor, strengths: Tensor, best: Tensor) -> None:
        """Open, in place, the path from input to output that loses least by it, as a product of scores."""
        other, passing = scores.masked_fill(~self.passing, -1).max(dim=-1)
        smallest = torch.finfo(scores.dtype).tiny
        # 0 on an edge whose best operation passes its input on: a cell that has a way through stays as it is
        losses = strengths.clamp_min(smallest).log() - other.clamp_min(smallest).log()
        for kind, weights in enumerate(losses.tolist()):
            path = list(lightest_path(self.sources, weights))
            best[kind, path] = passing[kind, path]

    def _genotype(self, strengths: Tensor, best: Tensor) -> Genotype:
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
            for edge, operation in self._held(cell):
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
        return known and all(bool(mask[held]) for held in self._held(cell))

    def _held(self, cell: Cell) -> list[tuple[int, int]]:
        """Edge and operation, as indices of the alphas, of each edge of a cell."""
        held, first = [], 0
        for sources, edges in zip(self.sources, cell.nodes, strict=True):
            held += [(first + edge.source, self.operations.index(edge.operation)) for edge in edges]
            first += len(sources)
        return held
