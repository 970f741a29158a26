"""How conflicting objectives are balanced: multiple-gradient descent with certified min-norm weights."""

from mgda.balance import MGDA, Balance, balance
from mgda.min_norm import MinNormSolution, min_norm

__all__ = ["MGDA", "Balance", "MinNormSolution", "balance", "min_norm"]
