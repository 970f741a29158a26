"""A population of learned optimizers that train one another, without any hand-designed optimizer (arXiv 2101.07367)."""

from learned_optimizers.meta_training.population.member import Member, OuterRecipe, first_members, random_thetas
from learned_optimizers.meta_training.population.population import Population
from learned_optimizers.meta_training.population.selection import SelectionRules

__all__ = ["Member", "OuterRecipe", "Population", "SelectionRules", "first_members", "random_thetas"]
