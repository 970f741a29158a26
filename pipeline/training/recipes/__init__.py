"""Recipes of robust training: their losses, and what goes with them. Plain functions of tensors, without settings."""

from pipeline.training.recipes.averaging import WeightAverage
from pipeline.training.recipes.free import FreePerturbation
from pipeline.training.recipes.judging import Judged, best, first_overfitted, has_overfitted, is_out_of_patience
from pipeline.training.recipes.losses import BatchLoss, Forward, Outputs
from pipeline.training.recipes.weight_perturbation import moved, unchanged_statistics, worst_change

__all__ = [
    "BatchLoss",
    "Forward",
    "FreePerturbation",
    "Judged",
    "Outputs",
    "WeightAverage",
    "best",
    "first_overfitted",
    "has_overfitted",
    "is_out_of_patience",
    "moved",
    "unchanged_statistics",
    "worst_change",
]
