"""Cells and networks that exist already."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import RunError
from pipeline.networks import network_files
from pipeline.networks.genotype_reference import nearest_name
from search_space import PUBLISHED, Genotype, Network


def published_cells() -> tuple[str, ...]:
    """List the names of the published cells.

    >>> "DARTS_V2" in published_cells()
    True
    """
    return tuple(PUBLISHED)


def published_cell(name: str) -> Genotype:
    """Return the cell that a paper published. Raises ValueError where the name is none of `published_cells`.

    >>> published_cell("DARTS_V2").normal.concat
    (2, 3, 4, 5)
    """
    if name not in PUBLISHED:
        near = nearest_name(name, PUBLISHED)
        hint = f"did you mean {near}?" if near else f"expected one of {', '.join(PUBLISHED)}"
        raise RunError(f"{name} is no published cell; {hint}")
    return PUBLISHED[name].genotype


def load_network(folder: str | Path) -> Network:
    """Load the trained network of a run folder, in evaluation mode on the CPU; no code of the folder is run.

    It takes images [N, C, H, W] in [0, 1], normalises them itself and returns logits [N, classes]. Raises ValueError
    where the folder holds no network, or one that is damaged.
    """
    return network_files.load_network(Path(folder)).network
