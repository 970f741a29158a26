"""The network of one genotype with the weights that a supernet has for it: what judges cells without training them."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from search_space.cells.genotype import Cell, Edge, Genotype
from search_space.network.nasbench201 import OneInputSearchCell
from search_space.network.network import Network, NetworkCell
from search_space.network.operations import FactorizedReduce, search_batch_norm
from search_space.supernet.mixed_node import WEIGHT_FREE, MixedNode, SeparableEdges
from search_space.supernet.supernet import SearchCell, Supernet


@torch.no_grad()
def inherit(supernet: Supernet, genotype: Genotype) -> Network:
    """Return the genotype's network, with copies of the supernet's weights and the batch norm of a supernet.

    Its logits are those of the supernet whose edges hold the genotype's operations with probability 1 and nothing else,
    at a part of the time: the operations that are left out are not computed. Raises ValueError for a genotype that is
    not of the supernet's space, and for a supernet of partial channels, where no network is the same function.
    """
    supernet.space.check_member(genotype)
    if supernet.partial_channels > 1:
        raise ValueError(f"expected partial_channels=1, found {supernet.partial_channels}: its cells are no networks")
    network = Network(
        genotype,
        channels=supernet.channels,
        layers=len(supernet.cells),
        num_classes=supernet.num_classes,
        in_channels=supernet.in_channels,
        norm=search_batch_norm,
    ).to(supernet.alphas)
    for name in ("normalize", "stem", "classifier"):
        getattr(network, name).load_state_dict(getattr(supernet, name).state_dict())
    for cell, source in zip(network.cells, supernet.cells, strict=True):
        if isinstance(source, SearchCell):
            _fill_cell(cast("NetworkCell", cell), source)
        elif isinstance(source, OneInputSearchCell):
            _fill_one_input_cell(cast("NetworkCell", cell), source)
        else:
            cell.load_state_dict(source.state_dict())
    return network


def _fill_cell(cell: NetworkCell, source: SearchCell) -> None:
    cell.inputs.load_state_dict(source.inputs.state_dict())
    for place, (node, edge) in enumerate(_edges(cell.cell)):
        operation = cell.operations[place]
        _fill_operation(operation, cast("MixedNode", source.nodes[node]), edge)
        if edge.operation in WEIGHT_FREE and edge.operation != "skip_connect":
            cell.operations[place] = nn.Sequential(operation, search_batch_norm(source.plan.channels))


def _fill_one_input_cell(cell: NetworkCell, source: OneInputSearchCell) -> None:
    first = [sum(map(len, source.space.sources[:node])) for node in range(len(source.space.sources))]
    for operation, (node, edge) in zip(cell.operations, _edges(cell.cell), strict=True):
        if edge.operation != "none":
            place = first[node] + source.space.sources[node].index(edge.source)
            held = cast("nn.ModuleDict", source.edges[place])
            operation.load_state_dict(held[edge.operation].state_dict())


def _edges(cell: Cell) -> list[tuple[int, Edge]]:
    """Yield every edge, in the order of the network's operations, and the node that it enters."""
    return [(node, edge) for node, edges in enumerate(cell.nodes) for edge in edges]


def _fill_operation(operation: nn.Module, mixed: MixedNode, edge: Edge) -> None:
    """Copy the weights of one edge, which a mixed node holds joined with those of others, in the order of sources."""
    if edge.operation in mixed.separable:
        joined = cast("SeparableEdges", mixed.separable[edge.operation])
        convolutions = [module for module in operation.modules() if isinstance(module, nn.Conv2d)]
        for stage in range(joined.operation.stages):
            depthwise, pointwise = convolutions[2 * stage : 2 * stage + 2]
            depthwise.weight.copy_(joined.depthwise[stage].unflatten(0, (len(mixed.strides), -1))[edge.source])
            pointwise.weight.copy_(_as_convolution(joined.pointwise[stage][edge.source]))
    elif edge.operation in mixed.others:
        held = cast("nn.ModuleList", mixed.others[edge.operation])
        operation.load_state_dict(held[edge.source].state_dict())
    elif isinstance(operation, FactorizedReduce) and mixed.reducing_skips is not None:
        operation.even.weight.copy_(_as_convolution(mixed.reducing_skips.even[edge.source]))
        operation.odd.weight.copy_(_as_convolution(mixed.reducing_skips.odd[edge.source]))


def _as_convolution(matrix: Tensor) -> Tensor:
    """[C, D] -> the weight of a 1x1 convolution, [D, C, 1, 1]."""
    return matrix.T[:, :, None, None]
