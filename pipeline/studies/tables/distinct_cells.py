"""The cells of a table: those of a search space that compute different functions, in an order drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product

import torch

from pipeline.compute.seeds import stream_seed
from search_space import Cell, Edge, Genotype, SearchSpace, canonical_form

MOST_LISTED = 100_000  # cells of a space that are all looked at
MOST_DRAWS = 1000  # for each cell that no earlier one equals, in a space too large to be listed


def distinct_cells(space: SearchSpace, count: int | None, seed: int) -> list[Genotype]:
    """Return `count` cells of the space, all of them by default, no two of which compute the same function.

    Those of a larger count begin with those of a smaller one. Of a space that can be listed, each function is as likely
    as any other, and stands for all its cells by the one that holds least; of a larger one cells are drawn uniformly.
    Cells through which no way leads from their input to their output are left out.
    Raises ValueError where there are not so many cells, or all are asked for of a space that is too large.

    >>> space = SearchSpace(nodes=2, operations=("none", "skip_connect", "nor_conv_1x1"), family="nasbench201")
    >>> len(distinct_cells(space, None, seed=0))
    8
    """
    if _size(space) <= MOST_LISTED:
        return _of_all(space, count, seed)
    if count is None:
        raise ValueError(
            f"tabulate.cells=null asks for all cells of a space of {_size(space):,.0f}; give a number, such as 1000"
        )
    return _drawn(space, count, seed)


def _size(space: SearchSpace) -> int:
    """Return the number of its cells where every edge is kept; more than can be listed elsewhere."""
    if not space.keeps_all or space.normal is not None:
        return MOST_LISTED**2
    return int(len(space.candidates) ** len(space.edges))


def _of_all(space: SearchSpace, count: int | None, seed: int) -> list[Genotype]:
    simplest: dict[str, Genotype] = {}
    for genotype in sorted(_all_cells(space), key=_content):
        if genotype.normal.passes_on(True):
            simplest.setdefault(canonical_form(genotype), genotype)
    if count is not None and count > len(simplest):
        raise ValueError(
            f"tabulate.cells={count}, but the space has {len(simplest):,} cells that compute different functions; "
            "lower it, or set it to null for all"
        )
    cells = list(simplest.values())
    order = torch.randperm(len(cells), generator=_generator(seed)).tolist()
    return [cells[place] for place in order[:count]]


def _all_cells(space: SearchSpace) -> Iterator[Genotype]:
    names = [space.operations[index] for index in space.candidates]
    for held in product(names, repeat=len(space.edges)):
        left = iter(held)
        nodes = tuple(tuple(Edge(next(left), source) for source in sources) for sources in space.sources)
        yield Genotype(Cell(nodes, space.concat, space.inputs), None)


def _content(genotype: Genotype) -> tuple[int, int, str]:
    """What is compared to find the cell that holds least: operations, those with anything to compute, the text."""
    names = [edge.operation for edge in genotype.normal.edges]
    return -names.count("none"), -names.count("skip_connect"), genotype.to_json()


def _drawn(space: SearchSpace, count: int, seed: int) -> list[Genotype]:
    generator = _generator(seed)
    found: dict[str, Genotype] = {}
    for _ in range(count):
        for genotype in islice(iter(lambda: space.random_genotype(generator), None), MOST_DRAWS):
            if (form := canonical_form(genotype)) not in found:
                found[form] = genotype
                break
        else:
            raise ValueError(f"tabulate.cells={count}, but only {len(found)} different cells were found; lower it")
    return list(found.values())


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(stream_seed(seed, "tabulate", "cells"))
