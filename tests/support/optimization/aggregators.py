"""The aggregators, by name."""

import torch

from mgda import MGDA, CAGrad, NashMTL, PCGrad, UPGrad, WeightedSum

AGGREGATORS = {
    "mgda": MGDA,
    "weighted_sum": WeightedSum,
    "upgrad": UPGrad,
    "cagrad": CAGrad,
    "nash_mtl": NashMTL,
    "pcgrad": PCGrad,
}


def conflicting():
    """Three gradients of which every two conflict, so that PCGrad's order shows."""
    return torch.tensor([[1.0, 0, 0.3], [-0.5, 1, 0.1], [-0.4, -0.8, 1]], dtype=torch.float64)
