"""The network of one genotype with the weights that a supernet has for it: what judges cells without training them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from search_space.cells.genotype import Cell, Edge, Genotype
from search_space.network.nasbench201 import OneInputSearchCell
from search_space.network.network import Network, NetworkCell
from search_space.network.operations import FactorizedReduce, search_batch_norm
from search_space.supernet.mixed_node import WEIGHT_FREE, MixedNode, SeparableEdges
from search_space.supernet.supernet import SearchCell, Supernet

NamedTensor = tuple[str, Tensor]


@torch.no_grad()
def inherit(supernet: Supernet, genotype: Genotype) -> Network:
    """Return the genotype's network, with copies of the supernet's weights and the batch norm of a supernet.

    Its logits are those of the supernet whose edges hold the genotype's operations with probability 1 and nothing else,
    at a part of the time: the operations that are left out are not computed. Raises ValueError for a genotype that is
    not of the supernet's space, and for a supernet of partial channels, where no network is the same function.
    """
    network = network_of_path(supernet, genotype).to(supernet.alphas)
    network.load_state_dict(dict(shared_tensors(supernet, network)))
    return network


def network_of_path(supernet: Supernet, genotype: Genotype) -> Network:
    """Build the network of `inherit` with initial values of its own. Raises ValueError as `inherit` does."""
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
    )
    for cell, source in zip(network.cells, supernet.cells, strict=True):
        if isinstance(source, SearchCell):
            _add_norms(cast("NetworkCell", cell), source.plan.channels)
    return network


def _add_norms(cell: NetworkCell, channels: int) -> None:
    """Put batch norm behind the pools, as a supernet has it."""
    for place, edge in enumerate(cell.cell.edges):
        if edge.operation in WEIGHT_FREE and edge.operation != "skip_connect":
            cell.operations[place] = nn.Sequential(cell.operations[place], search_batch_norm(channels))


def shared_tensors(supernet: Supernet, network: Network) -> Iterator[NamedTensor]:
    """Yield the supernet's tensors, or views of parts of them, by the names of the network's parameters and buffers.

    network: of `network_of_path`.  Gradients in them are gradients in the supernet's parameters.
    """
    for name in ("normalize", "stem", "classifier"):
        yield from _held_by(getattr(supernet, name), name)
    for place, (cell, source) in enumerate(zip(network.cells, supernet.cells, strict=True)):
        name = f"cells.{place}"
        if isinstance(source, SearchCell):
            yield from _of_cell(cast("NetworkCell", cell), source, name)
        elif isinstance(source, OneInputSearchCell):
            yield from _of_one_input_cell(cast("NetworkCell", cell), source, name)
        else:
            yield from _held_by(source, name)


def _held_by(module: nn.Module, name: str) -> Iterator[NamedTensor]:
    """Yield a module's own parameters and buffers, for one of that name with the same parts."""
    yield from module.state_dict(prefix=f"{name}.", keep_vars=True).items()


def _of_cell(cell: NetworkCell, source: SearchCell, name: str) -> Iterator[NamedTensor]:
    yield from _held_by(source.inputs, f"{name}.inputs")
    for place, (node, edge) in enumerate(_edges(cell.cell)):
        mixed = cast("MixedNode", source.nodes[node])
        yield from _of_operation(cell.operations[place], mixed, edge, f"{name}.operations.{place}")


def _of_one_input_cell(cell: NetworkCell, source: OneInputSearchCell, name: str) -> Iterator[NamedTensor]:
    first = [sum(map(len, source.space.sources[:node])) for node in range(len(source.space.sources))]
    for place, (node, edge) in enumerate(_edges(cell.cell)):
        if edge.operation != "none":
            held = source.edges[first[node] + source.space.sources[node].index(edge.source)]
            yield from _held_by(cast("nn.ModuleDict", held)[edge.operation], f"{name}.operations.{place}")


def _edges(cell: Cell) -> list[tuple[int, Edge]]:
    """Yield every edge, in the order of the network's operations, and the node that it enters."""
    return [(node, edge) for node, edges in enumerate(cell.nodes) for edge in edges]


def _of_operation(operation: nn.Module, mixed: MixedNode, edge: Edge, name: str) -> Iterator[NamedTensor]:
    """Yield the weights of one edge, which a mixed node holds joined with those of others, in the order of sources."""
    if edge.operation in mixed.separable:
        joined = cast("SeparableEdges", mixed.separable[edge.operation])
        convolutions = [part for part, module in operation.named_modules() if isinstance(module, nn.Conv2d)]
        for stage in range(joined.operation.stages):
            depthwise, pointwise = convolutions[2 * stage : 2 * stage + 2]
            of_edges = joined.depthwise[stage].unflatten(0, (len(mixed.strides), -1))
            yield f"{name}.{depthwise}.weight", of_edges[edge.source]
            yield f"{name}.{pointwise}.weight", _as_convolution(joined.pointwise[stage][edge.source])
    elif edge.operation in mixed.others:
        yield from _held_by(cast("nn.ModuleList", mixed.others[edge.operation])[edge.source], name)
    elif isinstance(operation, FactorizedReduce) and mixed.reducing_skips is not None:
        yield f"{name}.even.weight", _as_convolution(mixed.reducing_skips.even[edge.source])
        yield f"{name}.odd.weight", _as_convolution(mixed.reducing_skips.odd[edge.source])


def _as_convolution(matrix: Tensor) -> Tensor:
    """[C, D] -> the weight of a 1x1 convolution, [D, C, 1, 1]."""
    return matrix.T[:, :, None, None]
