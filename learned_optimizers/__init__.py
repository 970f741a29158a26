"""Optimizers that are themselves trained: their architectures, their meta-parameters, and how those are trained."""

from typing import TYPE_CHECKING

from on_demand import exports

if TYPE_CHECKING:
    from learned_optimizers.architectures.registry import ARCHITECTURES, architecture
    from learned_optimizers.meta_training.estimators import es_estimates, merge_estimates, reparameterized_estimates
    from learned_optimizers.optimizer import LearnedOptimizer
    from learned_optimizers.theta import Theta, load_theta, new_theta
    from learned_optimizers.training_watch import BeyondTrainingWarning
else:
    __getattr__ = exports(__name__, __file__)

__all__ = [
    "ARCHITECTURES",
    "BeyondTrainingWarning",
    "LearnedOptimizer",
    "Theta",
    "architecture",
    "es_estimates",
    "load_theta",
    "merge_estimates",
    "new_theta",
    "reparameterized_estimates",
]
