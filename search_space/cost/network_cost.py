"""What a network costs: parameters and multiply-accumulates (MACs; 1 MAC = 2 FLOPs) of one image.

Sizes are additive over the parts of a network, so each distinct part is measured once, on real modules without data
(device meta), and networks are sums.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, fields
from functools import cache

import torch
from torch import Tensor, nn

from search_space.cells.genotype import Genotype
from search_space.cost.counters import UncountableError, product_macs, thop_macs
from search_space.network.nasbench201 import ResidualBlock
from search_space.network.network import AuxiliaryHead, cell_inputs, classifier, stem
from search_space.network.operations import OPERATIONS, batch_norm
from search_space.network.skeleton import CellPlan, Skeleton, plan_skeleton
from search_space.quantities import NetworkCost, PartCost


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
    """Return the exact cost of `Network(genotype, ...)` for one image, added up from its parts without building it."""
    shape = NetworkShape(
        channels=channels, layers=layers, num_classes=num_classes, image_size=image_size, in_channels=in_channels
    )
    skeleton = shape.skeleton(genotype.widths)
    total = fixed_cost(shape, skeleton)
    cells = list(genotype.cells.values())
    for row, plan in cells_by_kind(skeleton):
        cell = cells[row]
        for edge in cell.edges:
            total += edge_cost(edge.operation, edge.source, plan)
    auxiliary = _module_parameters(AuxiliaryHead, skeleton.auxiliary_features, num_classes)
    return NetworkCost(total.parameters, total.parameters + auxiliary, total.conv_linear_macs, total.thop_macs)


@dataclass(frozen=True)
class ModuleCost:
    """What could be counted of a module that a user brings, by quantity, and the reasons why the rest could not.

    sizes: None where there are no parameters to count, or no MACs; without thop_macs where thop has no count alone.
    """

    sizes: dict[str, int] | None
    reasons: tuple[str, ...]


def module_cost(module: nn.Module, images: Tensor) -> ModuleCost:
    """Cost of any module, as it is, on images [1, C, H, W]; it is copied and stays as it is.

    A frozen graph has its weights as constants, and so no parameters to count; thop cannot count compiled modules and
    graphs, which hold none of the modules that it knows.
    """
    parameters = sum(parameter.numel() for parameter in module.parameters())
    macs, by_thop = (_attempted(count, module, images) for count in (product_macs, thop_macs))
    if isinstance(macs, str):
        return ModuleCost(None, (f"MACs: {macs}",))
    if macs and not parameters:
        return ModuleCost(None, ("parameters: its weights are constants",))
    sizes = {"parameters": parameters, "parameters_with_auxiliary_head": parameters, "conv_linear_macs": macs}
    if isinstance(by_thop, str) or (macs and not by_thop):
        reason = by_thop if isinstance(by_thop, str) else "it holds no module that thop knows"
        return ModuleCost(sizes, (f"thop's MACs: {reason}",))
    return ModuleCost(sizes | {"thop_macs": by_thop}, ())


def _attempted(count: Callable[[nn.Module, Tensor], int], module: nn.Module, images: Tensor) -> int | str:
    """Return the count, or why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # graphs warn when they are copied, TorchScript when it is used
            return count(deepcopy(module), images)
    except UncountableError as error:
        return str(error)
    except Exception as error:  # a user's module may refuse to be copied, hooked or dispatched in any way
        return f"counting raised {type(error).__name__}"


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


def fixed_cost(shape: NetworkShape, skeleton: Skeleton) -> PartCost:
    """Count all that a network holds beside the operations of its cells."""
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


def cells_by_kind(skeleton: Skeleton) -> Iterator[tuple[int, CellPlan]]:
    """Yield every cell of the stack with the row of its kind, 0 normal, 1 reduction; residual blocks are no cells."""
    for plan in skeleton.cells:
        if not plan.residual:
            yield int(plan.reduction), plan


def edge_cost(operation: str, source: int, plan: CellPlan) -> PartCost:
    """Count an operation on the edge from a source in one cell."""
    side = plan.source_size(source)
    arguments = (plan.channels, plan.stride(source), batch_norm)
    return _measure(OPERATIONS[operation], arguments, (plan.channels, side, side))


@cache
def _measure(factory: object, arguments: tuple[object, ...], input_shape: tuple[int, int, int]) -> PartCost:
    """Cost of factory(*arguments) on one input [C, H, W], by PyTorch's and thop's own counters."""
    if not callable(factory):
        raise TypeError(f"expected a function that makes a module, found {factory!r}")
    with torch.device("meta"):
        module: nn.Module = factory(*arguments)
        images = torch.empty(1, *input_shape)
    return _counted(module.eval(), images)


def _counted(module: nn.Module, images: Tensor) -> PartCost:
    """Cost of a module on images [1, C, H, W]; the module is of no use afterwards."""
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return PartCost(parameters, product_macs(module, images), thop_macs(module, images))


@cache
def _module_parameters(factory: type[nn.Module], *arguments: int) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in factory(*arguments).parameters())
