"""The steps of each kind of module that a network is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from torch import nn

from search_space.fixed_network.building import Builder, NotFixedError, Weights, scale_and_shift
from search_space.kernels.native.network_passes import StepKind
from search_space.network.nasbench201 import ResidualBlock, ResidualLayer
from search_space.network.network import Classifier, Network, NetworkCell, Normalize
from search_space.network.operations import EverySecondPixel, FactorizedReduce, Zero
from search_space.network.side_by_side import Linears
from search_space.network.skeleton import halved


@dataclass(frozen=True)
class Target:
    """Where the last of some steps writes: a value, or None for one that is made; whether it adds to what is there."""

    value: int | None = None
    added: bool = False


ANEW = Target()


def steps_of(module: nn.Module, builder: Builder, source: int, target: Target = ANEW) -> int:
    """Add the steps of a module, and return the value that they write. Raises NotFixedError where there are none."""
    add = _STEPS.get(type(module))
    if add is None:
        raise NotFixedError(f"a module {type(module).__name__}")
    return add(module, builder, source, target)


def _written(builder: Builder, target: Target, channels: int, height: int, width: int, *, passing: bool = False) -> int:
    return builder.value(channels, height, width, passing=passing) if target.value is None else target.value


def _sequence(module: nn.Module, builder: Builder, source: int, target: Target) -> int:
    """A ReLU belongs to what reads it, and a batch norm to the convolution before it."""
    parts = [part for part in _flat(module) if not isinstance(part, nn.Identity)]
    rectified, place = False, 0
    while place < len(parts):
        part, following = parts[place], parts[place + 1 :]
        place += 1
        if isinstance(part, nn.ReLU):
            rectified = True
            continue
        norm = None
        if isinstance(part, nn.Conv2d) and following and isinstance(following[0], nn.BatchNorm2d):
            norm, following, place = following[0], following[1:], place + 1
        passes = bool(following) and isinstance(following[0], nn.Conv2d)
        end = ANEW if following else target
        if isinstance(part, nn.Conv2d):
            source = _convolution(part, norm, builder, source, end, rectified=rectified, passing=passes)
        elif isinstance(part, nn.BatchNorm2d):
            source = _batch_norm(part, builder, source, end, rectified=rectified)
        elif isinstance(part, EverySecondPixel):
            source = _every_second(builder, source, (0, 0), rectified=rectified)
        elif isinstance(part, Classifier):
            source = _classifier(part, builder, source, end, rectified=rectified)
        elif rectified:
            raise NotFixedError(f"a ReLU before {type(part).__name__}")
        else:
            source = steps_of(part, builder, source, end)
        rectified = False
    if rectified or not parts:
        raise NotFixedError("a sequence that ends in a ReLU, or is empty")
    return source


def _flat(module: nn.Module) -> list[nn.Module]:
    if not isinstance(module, nn.Sequential):
        return [module]
    return [part for child in module for part in _flat(child)]


def _convolution(
    module: nn.Conv2d,
    norm: nn.BatchNorm2d | None,
    builder: Builder,
    source: int,
    target: Target,
    *,
    rectified: bool,
    passing: bool = False,
    first: int = 0,
) -> int:
    kernel, stride, padding, dilation = module.kernel_size, module.stride, module.padding, module.dilation
    groups, given, made = (n // builder.networks for n in (module.groups, module.in_channels, module.out_channels))
    depthwise = groups == given == made > 1 and norm is None and module.bias is None
    keeps_size = all(
        side % 2 and pad == spread * (side // 2) for side, pad, spread in zip(kernel, padding, dilation, strict=True)
    )
    if (groups > 1 and not depthwise) or not keeps_size or dilation[0] != dilation[1]:
        raise NotFixedError(f"a convolution {module}")
    _, *size = builder.shape(source)
    shape = made, *(-(-side // step) for side, step in zip(size, stride, strict=True))
    output = _written(builder, target, *shape, passing=passing)
    folded, shift = Weights(module.weight, module.bias, norm, first, builder.networks).folded()
    weight, bias = builder.store(folded, shift)
    builder.step(
        StepKind.DEPTHWISE if depthwise else StepKind.DENSE,
        source,
        output,
        rectified=rectified,
        added=target.added,
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation[0],
        weight=weight,
        bias=None if depthwise else bias,
    )
    return output


def _batch_norm(norm: nn.BatchNorm2d, builder: Builder, source: int, target: Target, *, rectified: bool) -> int:
    if rectified:
        raise NotFixedError("a batch norm after ReLU")
    output = _written(builder, target, *builder.shape(source))
    weight, bias = builder.store(*scale_and_shift(norm))
    builder.step(StepKind.SCALE, source, output, added=target.added, weight=weight, bias=bias)
    return output


def _normalize(module: nn.Module, builder: Builder, source: int, target: Target) -> int:
    of = cast("Normalize", module)
    output = _written(builder, target, *builder.shape(source))
    scale = 1 / of.std.double()
    weight, bias = builder.store(scale, -of.mean.double() * scale)
    builder.step(StepKind.SCALE, source, output, added=target.added, weight=weight, bias=bias)
    return output


def _every_second(builder: Builder, source: int, first: tuple[int, int], *, rectified: bool) -> int:
    channels, height, width = builder.shape(source)
    output = builder.value(channels, halved(height), halved(width), passing=True)
    builder.step(StepKind.EVERY_SECOND, source, output, rectified=rectified, padding=first)
    return output


def _factorized_reduce(module: nn.Module, builder: Builder, source: int, target: Target) -> int:
    of = cast("FactorizedReduce", module)
    if not isinstance(of.norm, nn.BatchNorm2d):
        raise NotFixedError(f"a module {type(of.norm).__name__}")
    _, height, width = builder.shape(source)
    halves = [(half, half.out_channels // builder.networks) for half in (of.even, of.odd)]
    output = _written(builder, target, sum(channels for _, channels in halves), halved(height), halved(width))
    first = 0
    for place, (half, channels) in enumerate(halves):
        picked = _every_second(builder, source, (place, place), rectified=True)
        part = Target(builder.part(output, first, channels), target.added)
        _convolution(half, of.norm, builder, picked, part, rectified=False, first=first)
        first += channels
    return output


def _pool(module: nn.Module, builder: Builder, source: int, target: Target) -> int:
    of = cast("nn.MaxPool2d | nn.AvgPool2d", module)
    kernel, stride, padding = (_pair(size) for size in (of.kernel_size, of.stride, of.padding))
    largest = isinstance(of, nn.MaxPool2d)
    if (padding != (0, 0) and getattr(of, "count_include_pad", False)) or getattr(of, "dilation", 1) != 1:
        raise NotFixedError(f"a pool {of}")
    channels, *size = builder.shape(source)
    height, width = (
        _windows(side + 2 * pad - window, side + pad, step, rounded_up=of.ceil_mode)
        for side, pad, window, step in zip(size, padding, kernel, stride, strict=True)
    )
    output = _written(builder, target, channels, height, width)
    kind = StepKind.MAX_POOL if largest else StepKind.AVERAGE_POOL
    builder.step(kind, source, output, added=target.added, kernel=kernel, stride=stride, padding=padding)
    return output


def _windows(room: int, end: int, step: int, *, rounded_up: bool) -> int:
    """Return how many windows begin within `room` pixels of the first, and before `end`, as PyTorch counts them."""
    if not rounded_up:
        return room // step + 1
    return min(-(-room // step) + 1, -(-end // step))


def _pair(size: int | tuple[int, ...]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _identity(module: nn.Module, builder: Builder, source: int, target: Target) -> int:
    if target.value is None:
        return source
    builder.step(StepKind.ADD, source, target.value, added=target.added)
    return target.value


def _zero(module: nn.Module, builder: Builder, source: int, target: Target) -> int:
    channels, height, width = builder.shape(source)
    stride = cast("Zero", module).stride
    output = _written(builder, target, channels, -(-height // stride), -(-width // stride))
    builder.step(StepKind.ZERO, source, output, added=target.added)
    return output


def _classifier(module: nn.Module, builder: Builder, source: int, target: Target, *, rectified: bool = False) -> int:
    of = cast("Classifier", module)
    channels, height, width = builder.shape(source)
    pooled = builder.value(channels, 1, 1)
    builder.step(StepKind.AVERAGE_POOL, source, pooled, rectified=rectified, kernel=(height, width))
    linear = of.linear.convolution if isinstance(of.linear, Linears) else of.linear
    output = _written(builder, target, len(linear.weight) // builder.networks, 1, 1)
    weight, bias = builder.store(*Weights(linear.weight, linear.bias).folded())
    builder.step(StepKind.DENSE, pooled, output, added=target.added, weight=weight, bias=bias)
    return output


def _residual_block(module: nn.Module, builder: Builder, source: int, target: Target) -> int:
    block = cast("ResidualBlock", module)
    output = steps_of(block.convolutions, builder, source, target)
    return steps_of(block.shortcut, builder, source, Target(output, added=True))


def cell_steps(cell: nn.Module, builder: Builder, sources: Sequence[int]) -> int:
    """Add the steps of a layer that reads the outputs of the two before, and return the value that it writes."""
    if isinstance(cell, ResidualLayer):
        return steps_of(cell.block, builder, sources[-1])
    if not isinstance(cell, NetworkCell):
        raise NotFixedError(f"a layer {type(cell).__name__}")
    read = sources[-len(cell.inputs) :]
    states = [steps_of(inputs, builder, state) for inputs, state in zip(cell.inputs, read, strict=True)]
    operations, made = iter(cell.operations), {}
    channels, *size = builder.shape(states[-1])
    size = [halved(side) for side in size] if cell.is_reduction else size
    output = builder.value(len(cell.cell.concat) * channels, *size)
    for place, state in enumerate(cell.cell.concat):
        made[state] = builder.part(output, place * channels, channels)
    for edges in cell.cell.nodes:
        total = made.get(len(states))
        total = builder.value(channels, *size) if total is None else total
        for number, edge in enumerate(edges):
            steps_of(next(operations), builder, states[edge.source], Target(total, added=number > 0))
        states.append(total)
    return output


def network_steps(network: Network, builder: Builder, size: Sequence[int]) -> int:
    """Add the steps from images [channels, height, width] of that size to the logits, and return their value.

    size: of what all networks side by side read.
    """
    channels, *sides = size
    images = builder.value(channels // builder.networks, *sides)
    before = last = steps_of(network.stem, builder, steps_of(network.normalize, builder, images))
    for cell in network.cells:
        before, last = last, cell_steps(cell, builder, (before, last))
    return steps_of(network.classifier, builder, last)


_STEPS: Mapping[type[nn.Module], Callable[[nn.Module, Builder, int, Target], int]] = MappingProxyType(
    {
        nn.Sequential: _sequence,
        nn.Identity: _identity,
        nn.MaxPool2d: _pool,
        nn.AvgPool2d: _pool,
        Classifier: _classifier,
        FactorizedReduce: _factorized_reduce,
        Normalize: _normalize,
        ResidualBlock: _residual_block,
        Zero: _zero,
    }
)
