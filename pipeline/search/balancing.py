"""How a search balances its objectives, as the settings say."""

from __future__ import annotations

import torch

from mgda import MGDA, Aggregator, CAGrad, NashMTL, PCGrad, UPGrad, WeightedSum
from pipeline.settings import ObjectiveSettings


def make_aggregator(settings: ObjectiveSettings, seed: int) -> Aggregator:
    """The aggregator that the settings name. seed: of the orders of pcgrad, the same in every process.

    Raises ValueError where a library that it needs is not installed.
    """
    balance = settings.balance
    scale, preferences = balance.normalisation, settings.preferred()
    match balance.name:
        case "mgda":
            return MGDA(normalisation=scale, preferences=preferences)
        case "weighted_sum":
            return WeightedSum(normalisation=scale, preferences=preferences)
        case "upgrad":
            return UPGrad(normalisation=scale, preferences=preferences)
        case "cagrad":
            return CAGrad(normalisation=scale, c=balance.cagrad_c)
        case "nash_mtl":
            return NashMTL(normalisation=scale, max_norm=balance.nash_mtl_max_norm)
        case "pcgrad":
            return PCGrad(normalisation=scale, generator=torch.Generator().manual_seed(seed))
