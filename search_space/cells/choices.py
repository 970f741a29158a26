"""What a search chooses from: the cells' nodes and edges, and the operations that each edge may hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from on_demand import chosen
from search_space.cells.families import FAMILIES
from search_space.cells.genotype import BLOCKING, OPERATION_NAMES

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
class SpaceChoices:
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
        chosen("a family of cells", FAMILIES, self.family)
        if not isinstance(self.nodes, int) or self.nodes < 1:
            raise ValueError(f"a cell needs at least one node, found nodes={self.nodes!r}")
        known = ("none", *OPERATION_NAMES)
        unknown = [name for name in self.operations if name not in known]
        if unknown:
            raise ValueError(f"unknown operations {unknown}; known are {', '.join(known)}")
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
