"""How conflicting objectives are balanced: multiple-gradient descent with certified min-norm weights, and others."""

from typing import TYPE_CHECKING

from on_demand import exports

if TYPE_CHECKING:
    from mgda.aggregator import Aggregator
    from mgda.balancing import Balance, balance
    from mgda.min_norm_solver import MinNormSolution, min_norm
    from mgda.multiple_gradient import MGDA
    from mgda.torchjd_aggregators import CAGrad, NashMTL, PCGrad, UPGrad, WeightedSum
else:
    __getattr__ = exports(__name__, __file__)

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
