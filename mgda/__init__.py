"""How conflicting objectives are balanced: multiple-gradient descent with certified min-norm weights, and others."""

from mgda.aggregator import Aggregator
from mgda.balance import Balance, balance
from mgda.min_norm import MinNormSolution, min_norm
from mgda.multiple_gradient import MGDA
from mgda.torchjd_aggregators import CAGrad, NashMTL, PCGrad, UPGrad, WeightedSum

__all__ = [
    "MGDA",
    "Aggregator",
    "Balance",
    "CAGrad",
    "MinNormSolution",
    "NashMTL",
    "PCGrad",
    "UPGrad",
    "WeightedSum",
    "balance",
    "min_norm",
]
