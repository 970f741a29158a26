"""Families of search spaces: what their cells have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from on_demand import Option
from search_space.cells.genotype import CELL_INPUTS


@dataclass(frozen=True, kw_only=True)
class Family(Option):
    """What the cells of a search space have in common.

    inputs: states of a cell that come from outside.  cells: kinds of cells that are searched, the rows of the alphas.
    kept: edges that a node of a derived cell keeps, the strongest; None for all, and then an edge may hold none.
    """

    inputs: int
    cells: int
    kept: int | None


FAMILIES: Mapping[str, Family] = {
    "darts": Family(
        label="DARTS",
        meaning="two kinds of cells of two inputs; a node keeps two edges (Liu et al. 2019)",
        inputs=CELL_INPUTS,
        cells=2,
        kept=2,
    ),
    "nasbench201": Family(
        label="NAS-Bench-201",
        meaning="one kind of cell of one input; a node keeps all its edges (Dong & Yang 2020)",
        inputs=1,
        cells=1,
        kept=None,
    ),
}
