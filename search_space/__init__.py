"""What can be built: genotypes, operations, the supernet, the derived network, and what each costs."""

from search_space.cells.genotype import Cell, Edge, Genotype
from search_space.cells.published import PUBLISHED, PublishedCell
from search_space.cells.space import DARTS_OPERATIONS, SearchSpace
from search_space.cost.cost_table import CostTable
from search_space.cost.network_cost import NetworkCost, NetworkShape, channels_for_parameters, network_cost
from search_space.network.network import Network
from search_space.network.operations import OPERATIONS
from search_space.supernet.inheritance import inherit
from search_space.supernet.supernet import Supernet

__all__ = [
    "DARTS_OPERATIONS",
    "OPERATIONS",
    "PUBLISHED",
    "Cell",
    "CostTable",
    "Edge",
    "Genotype",
    "Network",
    "NetworkCost",
    "NetworkShape",
    "PublishedCell",
    "SearchSpace",
    "Supernet",
    "channels_for_parameters",
    "inherit",
    "network_cost",
]
