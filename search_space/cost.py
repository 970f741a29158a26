"""What a network costs: parameters and multiply-accumulates (MACs; 1 MAC = 2 FLOPs) of one image.

Sizes are additive over the parts of a network, so each distinct part is measured once, on real modules without data
(device meta), and networks are sums. Two conventions stand side by side, as papers differ:

- conv_linear_macs: convolutions and the classifier alone (torch.utils.flop_counter / 2);
- thop_macs: thop's, which adds batch norm and average pooling.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields
from functools import cache, reduce
from itertools import combinations

import numpy as np
import thop
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search_space.genotype import Genotype
from search_space.nasbench201 import ResidualBlock
from search_space.network import AuxiliaryHead, cell_inputs, classifier, stem
from search_space.operations import OPERATIONS, batch_norm
from search_space.paths import all_paths
from search_space.skeleton import CellPlan, Skeleton, plan_skeleton
from search_space.space import SearchSpace

QUANTITIES = ("parameters", "conv_linear_macs", "thop_macs")
"""Order of the last dimension of a cost table."""


@dataclass(frozen=True)
class NetworkCost:
    """Exact size of one network; the auxiliary head is trained but never runs when the network is used."""

    parameters: int
    parameters_with_auxiliary_head: int
    conv_linear_macs: int
    thop_macs: int


@dataclass(frozen=True)
class _Cost:
    parameters: int = 0
    conv_linear_macs: int = 0
    thop_macs: int = 0

    def __add__(self, other: _Cost) -> _Cost:
        return _Cost(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def __mul__(self, times: int) -> _Cost:
        return _Cost(*(getattr(self, field.name) * times for field in fields(self)))


@dataclass(frozen=True, kw_only=True)
class NetworkShape:
    """All that a network's size depends on beside its genotype; images are square, image_size pixels a side."""

    channels: int = 36
    layers: int = 20
    num_classes: int = 10
    image_size: int = 32
    in_channels: int = 3

    def skeleton(self, widths: tuple[int, ...]) -> Skeleton:
        """Cells of a network whose kinds of cells concatenate `widths` states."""
        return plan_skeleton(channels=self.channels, layers=self.layers, widths=widths, image_size=self.image_size)


def network_cost(
    genotype: Genotype,
    *,
    channels: int = 36,
    layers: int = 20,
    num_classes: int = 10,
    image_size: int = 32,
    in_channels: int = 3,
) -> NetworkCost:
    """Exact cost of `Network(genotype, ...)` for one image, added up from its parts without building it."""
    shape = NetworkShape(
        channels=channels, layers=layers, num_classes=num_classes, image_size=image_size, in_channels=in_channels
    )
    skeleton = shape.skeleton(genotype.widths)
    total = _fixed_cost(shape, skeleton)
    cells = list(genotype.cells.values())
    for row, plan in _cells(skeleton):
        cell = cells[row]
        for edge in cell.edges:
            total += _edge_cost(edge.operation, edge.source, plan)
    auxiliary = _module_parameters(AuxiliaryHead, skeleton.auxiliary_features, num_classes)
    return NetworkCost(total.parameters, total.parameters + auxiliary, total.conv_linear_macs, total.thop_macs)


def module_cost(module: nn.Module, images: Tensor) -> NetworkCost:
    """Cost of any module, in evaluation mode, on images [1, C, H, W]; it is copied and stays as it is."""
    counted = _counted(deepcopy(module).eval(), images)
    return NetworkCost(counted.parameters, counted.parameters, counted.conv_linear_macs, counted.thop_macs)


def channels_for_parameters(genotype: Genotype, parameters: int, *, shape: NetworkShape) -> int:
    """Channels at which the genotype's network has the number of parameters nearest to `parameters`.

    All else is as in `shape`, whose channels are not used. Raises ValueError when one channel is already more.
    """

    def size(channels: int) -> int:
        rest = {f.name: getattr(shape, f.name) for f in fields(shape) if f.name != "channels"}
        return network_cost(genotype, channels=channels, **rest).parameters

    if parameters < size(1):
        raise ValueError(
            f"with one channel the network already has {size(1):,} parameters; {parameters:,} were asked for"
        )
    upper = 1
    while size(upper) < parameters:
        upper *= 2
    lower = upper // 2
    while upper - lower > 1:  # size(lower) < parameters <= size(upper)
        middle = (lower + upper) // 2
        lower, upper = (middle, upper) if size(middle) < parameters else (lower, middle)
    return min((max(lower, 1), upper), key=lambda channels: abs(size(channels) - parameters))


class CostTable:
    """Cost of every network of a search space at one shape, as fixed part + sum over kept operations.

    fixed: [quantities].  edges: [cells, edges, operations, quantities], summed over the cells of a kind; none costs 0.
    Both float64, exact below 2**53. QUANTITIES gives the last dimension.
    """

    def __init__(self, space: SearchSpace, shape: NetworkShape) -> None:
        self.space = space
        self.shape = shape
        skeleton = shape.skeleton(space.widths)
        self.fixed = _to_tensor(_fixed_cost(shape, skeleton))
        self.edges = torch.zeros(*space.alpha_shape, len(QUANTITIES), dtype=torch.float64)
        for row, plan in _cells(skeleton):
            for edge, source in enumerate(space.edges):
                for index in space.candidates:
                    cost = _edge_cost(space.operations[index], source, plan)
                    self.edges[row, edge, index] += _to_tensor(cost)

    def expected(self, probabilities: Tensor) -> Tensor:
        """Expected cost [quantities] of the network to be derived, differentiable in the probabilities.

        probabilities: [cells, edges, operations], rows sum to 1 (`SearchSpace.probabilities` of the alphas).
        An edge holds operation o with probability p_o / (1 - p_none) and is kept with the probability that it is among
        two edges drawn one after the other in proportion to their strengths, the best p_o of each edge. Where a space
        keeps all edges, they hold o, none too, with p_o. At the one-hot probabilities of a genotype
        (`SearchSpace.one_hot`) this is the exact cost of its network.
        """
        candidates = list(self.space.candidates)
        chosen = probabilities.double()[..., candidates]
        mass = chosen.sum(dim=-1, keepdim=True)
        conditional = chosen / mass.clamp_min(torch.finfo(torch.float64).tiny)
        strengths = chosen.amax(dim=-1)
        all_kept = self.space.keeps_all
        keep = torch.ones_like(strengths) if all_kept else keep_probabilities(strengths, self.space.sources)
        costs = self.edges.to(probabilities.device)[:, :, candidates]
        kept_cost = torch.einsum("ce,ceo,ceoq->q", keep, conditional, costs)
        return self.fixed.to(probabilities.device) + kept_cost

    def exact(self, genotype: Genotype) -> Tensor:
        """Cost [quantities] of the network of a genotype of the space."""
        kept = self.space.one_hot(genotype)[..., None] * self.edges
        return self.fixed + kept.sum(dim=(0, 1, 2))

    def attainable(self, bounds: Mapping[str, tuple[float | None, float | None]]) -> bool:
        """Whether any network of the space keeps all bounds (quantity -> lower, upper) at once; by enumeration."""
        if not bounds:
            return True
        indices = [QUANTITIES.index(quantity) for quantity in bounds]
        first, *others = (self._distinct_cells(kind, indices) for kind in range(self.space.cells))
        last = others[0] if others else np.zeros((1, len(indices)), dtype=np.int64)
        lower = np.array([-np.inf if low is None else low for low, _ in bounds.values()])
        upper = np.array([np.inf if high is None else high for _, high in bounds.values()])
        fixed = self.fixed[indices].numpy()
        sums = (fixed + costs + last for costs in first)
        return any(bool(((lower <= total) & (total <= upper)).all(axis=1).any()) for total in sums)

    def _distinct_cells(self, kind: int, quantities: Sequence[int]) -> NDArray[np.int64]:
        """All distinct costs of a kind of cell: [cells, quantities]."""
        costs, space = self.edges[kind][..., quantities].long(), self.space
        held = [_distinct(of_edge[mask]) for of_edge, mask in zip(costs, space.keepable[kind], strict=True)]
        if space.keeps_all:  # the edges of a path pass the input on, the others are free
            passing = [_distinct(of_edge[mask]) for of_edge, mask in zip(costs, space.passing[kind], strict=True)]
            cells = (
                [passing[e] if e in path else held[e] for e in range(len(held))] for path in all_paths(space.sources)
            )
            return np.unique(np.concatenate([reduce(_distinct_sums, cell) for cell in cells]), axis=0)
        nodes, first = [], 0
        for sources in space.sources:
            pairs = combinations(held[first : first + len(sources)], 2)
            nodes.append(np.unique(np.concatenate([_distinct_sums(*pair) for pair in pairs]), axis=0))
            first += len(sources)
        return reduce(_distinct_sums, nodes)

    def reachable(self, quantity: str) -> tuple[int, int]:
        """Smallest and largest value of one quantity over all networks of the space."""
        index = QUANTITIES.index(quantity)
        cells = [self._distinct_cells(kind, [index]) for kind in range(self.space.cells)]
        fixed = int(self.fixed[index])
        return fixed + sum(int(cell.min()) for cell in cells), fixed + sum(int(cell.max()) for cell in cells)


def keep_probabilities(strengths: Tensor, sources: tuple[tuple[int, ...], ...]) -> Tensor:
    """Probability that each edge is among the two its node keeps. strengths: [cells, edges] -> [cells, edges].

    Two edges are drawn without replacement in proportion to their strengths (Plackett 1975; Luce 1959), so that the
    values of a node sum to 2: p_i = w_i + sum over j != i of w_j w_i / (1 - w_j), with w the strengths over their sum.
    """
    kept, first = [], 0
    for node_sources in sources:
        node = strengths[:, first : first + len(node_sources)]
        weights = node / node.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(node.dtype).tiny)
        others = weights.unsqueeze(-1).expand(-1, -1, weights.shape[-1]) * (
            1 - torch.eye(weights.shape[-1]).to(weights)
        )
        rest = others.sum(dim=1).clamp_min(torch.finfo(node.dtype).eps)  # 1 - w_j without cancellation
        second = (weights / rest).unsqueeze(1) * (1 - torch.eye(weights.shape[-1]).to(weights))
        kept.append(weights + weights * second.sum(dim=-1))
        first += len(node_sources)
    return torch.cat(kept, dim=-1)


def _distinct(costs: Tensor) -> NDArray[np.int64]:
    return np.unique(costs.numpy(), axis=0)


def _distinct_sums(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique((left[:, None] + right[None]).reshape(-1, left.shape[-1]), axis=0)


def _fixed_cost(shape: NetworkShape, skeleton: Skeleton) -> _Cost:
    size, final = shape.image_size, skeleton.final_size
    total = _measure(stem, (shape.in_channels, skeleton.stem_channels, batch_norm), (shape.in_channels, size, size))
    norm = batch_norm if skeleton.normalises_features else None
    total += _measure(classifier, (skeleton.features, shape.num_classes, norm), (skeleton.features, final, final))
    for plan, times in Counter(skeleton.cells).items():
        if plan.residual:
            before = plan.input_channels[-1]
            block = _measure(ResidualBlock, (before, plan.channels, batch_norm), (before, plan.size, plan.size))
            total += block * times
            continue
        sides = (_side_before(plan), plan.size)[-len(plan.input_channels) :]
        for which, (channels, side) in enumerate(zip(plan.input_channels, sides, strict=True)):
            total += _measure(_cell_input, (plan, which), (channels, side, side)) * times
    return total


def _cell_input(plan: CellPlan, which: int) -> nn.Module:
    return cell_inputs(plan, batch_norm)[which]


def _side_before(plan: CellPlan) -> int:
    """Side of the output of the cell before last; even and odd sides that halve to plan.size cost the same."""
    return 2 * plan.size if plan.reduces_first_input else plan.size


def _cells(skeleton: Skeleton) -> Iterator[tuple[int, CellPlan]]:
    """Every cell of the stack with the row of its kind, 0 normal, 1 reduction; residual blocks are no cells."""
    for plan in skeleton.cells:
        if not plan.residual:
            yield int(plan.reduction), plan


def _edge_cost(operation: str, source: int, plan: CellPlan) -> _Cost:
    side = plan.source_size(source)
    arguments = (plan.channels, plan.stride(source), batch_norm)
    return _measure(OPERATIONS[operation], arguments, (plan.channels, side, side))


@cache
def _measure(factory: object, arguments: tuple[object, ...], input_shape: tuple[int, int, int]) -> _Cost:
    """Cost of factory(*arguments) on one input [C, H, W], by PyTorch's and thop's own counters."""
    if not callable(factory):
        raise TypeError(f"expected a function that makes a module, found {factory!r}")
    with torch.device("meta"):
        module: nn.Module = factory(*arguments)
        images = torch.empty(1, *input_shape)
    return _counted(module.eval(), images)


def _counted(module: nn.Module, images: Tensor) -> _Cost:
    """Cost of a module on images [1, C, H, W]; the module is of no use afterwards."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(images)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    with warnings.catch_warnings():  # thop warns of its own deprecated functions
        warnings.simplefilter("ignore")
        # thop puts hooks and buffers on what it counts: this module is thrown away
        thop_macs, _ = thop.profile(nn.Sequential(module), inputs=(images,), verbose=False)
    return _Cost(parameters, counter.get_total_flops() // 2, int(thop_macs))


@cache
def _module_parameters(factory: type[nn.Module], *arguments: int) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in factory(*arguments).parameters())


def _to_tensor(cost: _Cost) -> Tensor:
    return torch.tensor([getattr(cost, quantity) for quantity in QUANTITIES], dtype=torch.float64)
