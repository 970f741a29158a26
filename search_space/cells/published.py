"""Published cells by name, with the sizes of their CIFAR-10 networks (36 channels, 20 layers)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

from search_space.cells.genotype import Genotype
from search_space.quantities import NetworkCost


@dataclass(frozen=True)
class PublishedCell:
    """A genotype from the literature and the cost of its network at 36 channels, 20 layers, 10 classes, 32x32."""

    name: str
    paper: str
    genotype: Genotype
    cost: NetworkCost


def _load() -> dict[str, PublishedCell]:
    rows = json.loads(files("search_space.cells").joinpath("published_cells.json").read_text(encoding="utf-8"))["cells"]
    return {
        row["name"]: PublishedCell(
            row["name"], row["paper"], Genotype.from_darts(row["genotype"]), NetworkCost(**row["cost"])
        )
        for row in rows
    }


PUBLISHED: Mapping[str, PublishedCell] = MappingProxyType(_load())
"""Name (DARTS_V2, PDARTS, NASNet, ...) -> cell; sources in published_cells.json."""
