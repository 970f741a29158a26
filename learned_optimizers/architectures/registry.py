"""The learned optimizers there are, by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from on_demand import Option, chosen

if TYPE_CHECKING:
    from learned_optimizers.architectures.base import Architecture

ARCHITECTURES: Mapping[str, Option] = {
    "mlp": Option(
        label="MLP",
        meaning="one small network for every element (Metz et al. 2018)",
        code="learned_optimizers.architectures.mlp:MLP",
    ),
    "hierarchical": Option(
        label="hierarchical",
        meaning="an LSTM over tensors that steers a small network for every element (Metz et al. 2020)",
        code="learned_optimizers.architectures.hierarchical:Hierarchical",
    ),
    "general": Option(
        label="general",
        meaning="normalised steps, relative to a tensor's weights, that no unit of loss, gradients or weights changes",
        code="learned_optimizers.architectures.general:General",
    ),
}


@cache
def architecture(name: str) -> Architecture:
    """Look an architecture up by name. Raises ValueError that lists them."""
    found: Architecture = chosen("an architecture", ARCHITECTURES, name).load()()
    return found
