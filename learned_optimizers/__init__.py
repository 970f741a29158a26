"""Optimizers that are themselves trained: their architectures, their meta-parameters, and how those are trained."""

from learned_optimizers.architectures.registry import ARCHITECTURES
from learned_optimizers.meta_training.estimators import es_estimates, merge_estimates, reparameterized_estimates
from learned_optimizers.optimizer import LearnedOptimizer
from learned_optimizers.theta import Theta, load_theta, new_theta

__all__ = [
    "ARCHITECTURES",
    "LearnedOptimizer",
    "Theta",
    "es_estimates",
    "load_theta",
    "merge_estimates",
    "new_theta",
    "reparameterized_estimates",
]
