"""How a search balances its objectives, as the settings say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mgda import Aggregator, Balance
from mgda.registry import BALANCES
from pipeline.search.hypergradient import ObjectiveGradient
from pipeline.search.objectives import Bound
from pipeline.settings import ObjectiveSettings


def make_aggregator(settings: ObjectiveSettings, seed: int) -> Aggregator:
    """The aggregator that the settings name. seed: of the orders of pcgrad, the same in every process.

    Raises ValueError where a library that it needs is not installed.
    """
    option, own = BALANCES[settings.balance.name], f"{settings.balance.name}_"
    of_search = {"preferences": settings.preferred(), "generator": torch.Generator().manual_seed(seed)}
    made: Aggregator = option.load()(
        normalisation=settings.balance.normalisation,
        **{name: of_search[name] for name in option.takes},
        **{key.removeprefix(own): value for key, value in settings.balance if key.startswith(own)},
    )
    return made


def objectives_row(
    found: Mapping[str, ObjectiveGradient], bounds: Mapping[str, Bound], balanced: Balance
) -> dict[str, Any]:
    """Return the figures of a step's objectives and of their balance, as metrics.jsonl has them."""
    residuals = {name: result.residual for name, result in found.items() if result.residual is not None}
    return {
        "objectives": {name: result.value.item() for name, result in found.items()},
        "bounds": {name: [bound.lower, bound.upper] for name, bound in bounds.items()},
        "gradient_norms": {name: result.gradient.norm().item() for name, result in found.items()},
        "balance": {
            "weights": balanced.weights,
            "scales": balanced.scales,
            "norm": balanced.norm,
            "residual": balanced.residual,
        },
    } | ({"hypergradient_residuals": residuals} if residuals else {})
