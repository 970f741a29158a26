"""The learned optimizers there are, by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from on_demand import Option, chosen

if TYPE_CHECKING:
    from learned_optimizers.architectures.base import Architecture


def _gru(label: str, meaning: str, **arguments: Any) -> Option:
    return Option(label=label, meaning=meaning, code="learned_optimizers.architectures.gru:GRU", arguments=arguments)


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
    "gru": _gru("GRU", "a recurrent network for every element (Maheswaranathan et al. 2020)", units=32),
    "gru_64": _gru("GRU of 64 units", "the same with twice the units", units=64),
    "gru_log": _gru("GRU of logarithms", "gru that sees log(1 + |g|) and the sign of g", units=32, sees="logarithm"),
    "gru_log_64": _gru("GRU of logarithms, 64 units", "gru_log with twice the units", units=64, sees="logarithm"),
}

COMPONENT_WISE = tuple(name for name, option in ARCHITECTURES.items() if option.code.endswith(":GRU"))
"""Those whose elements do not see one another, and whose state depends on what they learned."""


@cache
def architecture(name: str) -> Architecture:
    """Look an architecture up by name. Raises ValueError that lists them."""
    found: Architecture = chosen("an architecture", ARCHITECTURES, name).load()()
    return found
