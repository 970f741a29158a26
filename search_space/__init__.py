"""What can be built: genotypes, operations, the supernet, the derived network, and what each costs."""

from typing import TYPE_CHECKING

from on_demand import exports

if TYPE_CHECKING:
    from search_space.cells.canonical import canonical_form
    from search_space.cells.choices import DARTS_OPERATIONS, SpaceChoices
    from search_space.cells.genotype import Cell, Edge, Genotype
    from search_space.cells.published import PUBLISHED, PublishedCell
    from search_space.cells.space import SearchSpace
    from search_space.cost.cost_table import CostTable
    from search_space.cost.network_cost import NetworkShape, channels_for_parameters, network_cost
    from search_space.fixed_network.fixed_weights import fixed_weights
    from search_space.network.network import Network
    from search_space.network.operations import OPERATIONS
    from search_space.quantities import QUANTITIES, NetworkCost
    from search_space.supernet.inheritance import inherit
    from search_space.supernet.relaxation import Relaxation
    from search_space.supernet.supernet import Supernet
else:
    __getattr__ = exports(__name__, __file__)

__all__ = [
    "DARTS_OPERATIONS",
    "OPERATIONS",
    "PUBLISHED",
    "QUANTITIES",
    "Cell",
    "CostTable",
    "Edge",
    "Genotype",
    "Network",
    "NetworkCost",
    "NetworkShape",
    "PublishedCell",
    "Relaxation",
    "SearchSpace",
    "SpaceChoices",
    "Supernet",
    "canonical_form",
    "channels_for_parameters",
    "fixed_weights",
    "inherit",
    "network_cost",
]
