"""The learned optimizers there are, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from learned_optimizers.architectures.base import Architecture
from learned_optimizers.architectures.hierarchical import Hierarchical
from learned_optimizers.architectures.mlp import MLP

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType({"mlp": MLP(), "hierarchical": Hierarchical()})


def architecture(name: str) -> Architecture:
    """Look an architecture up by name. Raises ValueError that lists them."""
    if name not in ARCHITECTURES:
        raise ValueError(f"expected an architecture of {', '.join(ARCHITECTURES)}, found {name!r}")
    return ARCHITECTURES[name]
