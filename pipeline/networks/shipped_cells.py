"""The cells that are shipped, by name: those of papers, those that this project found, and the block of a ResNet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from search_space import PUBLISHED, Genotype
from search_space.cells.resnet import BASIC_BLOCK

RESNET = "ResNet"


@dataclass(frozen=True)
class ShippedCell:
    """A cell, and in one line what it is."""

    what: str
    genotype: Genotype


@cache
def shipped_cells() -> Mapping[str, ShippedCell]:
    """Return all cells that `genotype=` and `e2rnas.load` know by a name.

    >>> shipped_cells()["digits-searched-1"].what
    'cell found on the digits: 74.5 % under pgd-20, mean of 5 trainings; 23,282 parameters'
    """
    published = {name: ShippedCell(f"published cell ({cell.paper})", cell.genotype) for name, cell in PUBLISHED.items()}
    rows = json.loads(files("pipeline.networks").joinpath("found_cells.json").read_text(encoding="utf-8"))
    found = {
        name: ShippedCell(row["what"], Genotype.from_json(json.dumps(row["genotype"]))) for name, row in rows.items()
    }
    block = ShippedCell(
        "residual block of two layers, made by hand (He et al. 2016); ResNet-8 has 3 layers", BASIC_BLOCK
    )
    return MappingProxyType({**published, RESNET: block, **found})
