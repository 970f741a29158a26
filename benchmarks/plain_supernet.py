"""The supernet as most DARTS code writes it: one module an operation, Python sums, none as zeros. The reference."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from search_space.cells.space import SearchSpace
from search_space.network.network import Classifier, Normalize, cell_inputs, stem
from search_space.network.operations import OPERATIONS
from search_space.network.skeleton import CellPlan, plan_skeleton
from search_space.supernet.supernet import Supernet

plain_batch_norm = partial(nn.BatchNorm2d, affine=False, track_running_stats=False)


class MixedOperation(nn.Module):
    """sum_o p_o o(x) on one edge (Liu et al. 2019, eq. 2)."""

    def __init__(self, operations: tuple[str, ...], channels: int, stride: int) -> None:
        super().__init__()
        self.operations = nn.ModuleList()
        for name in operations:
            operation = OPERATIONS[name](channels, stride, plain_batch_norm)
            if "pool" in name:
                operation = nn.Sequential(operation, plain_batch_norm(channels))
            self.operations.append(operation)

    def forward(self, state: Tensor, probabilities: Tensor) -> Tensor:
        """[N, C, H, W], [operations] -> [N, C, H', W']."""
        return sum(p * operation(state) for p, operation in zip(probabilities, self.operations, strict=True))


class PlainCell(nn.Module):
    """A search cell of mixed operations."""

    def __init__(self, space: SearchSpace, plan: CellPlan) -> None:
        super().__init__()
        self.sources = space.sources
        self.row = int(plan.reduction)
        self.inputs = cell_inputs(plan, plain_batch_norm)
        self.edges = nn.ModuleList(
            MixedOperation(space.operations, plan.channels, plan.stride(source)) for source in space.edges
        )

    def forward(self, before: Tensor, last: Tensor, probabilities: Tensor) -> Tensor:
        """probabilities: [2, edges, operations]."""
        states = [self.inputs[0](before), self.inputs[1](last)]
        offset = 0
        for sources in self.sources:
            node = sum(
                self.edges[offset + source](states[source], probabilities[self.row][offset + source])
                for source in sources
            )
            offset += len(sources)
            states.append(node)
        return torch.cat(states[2:], dim=1)


class PlainSupernet(nn.Module):
    """The same function as `search_space.Supernet`, written straightforwardly."""

    def __init__(self, space: SearchSpace, *, channels: int, layers: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        skeleton = plan_skeleton(channels=channels, layers=layers, widths=(space.nodes, space.nodes))
        self.space = space
        self.alphas = nn.Parameter(1e-3 * torch.randn(space.alpha_shape))
        self.normalize = Normalize(in_channels, None, None)
        self.stem = stem(in_channels, skeleton.stem_channels, plain_batch_norm)
        self.cells = nn.ModuleList(PlainCell(space, plan) for plan in skeleton.cells)
        self.classifier = Classifier(skeleton.features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """[N, in_channels, H, W] in [0, 1] -> logits [N, num_classes]."""
        probabilities = torch.softmax(self.alphas, dim=-1)
        before = last = self.stem(self.normalize(images))
        for cell in self.cells:
            before, last = last, cell(before, last, probabilities)
        return self.classifier(last)

    def weights(self) -> list[nn.Parameter]:
        """All parameters but the alphas."""
        return [parameter for parameter in self.parameters() if parameter is not self.alphas]


@torch.no_grad()
def copy_weights(plain: PlainSupernet, fused: Supernet) -> None:
    """Give the fused supernet the plain one's weights and alphas."""
    for fused_tensor, plain_tensor in _pairs(plain, fused):
        fused_tensor.copy_(plain_tensor)


def fused_order(
    plain: PlainSupernet, fused: Supernet, tensors: dict[nn.Parameter, Tensor]
) -> dict[nn.Parameter, Tensor]:
    """Tensors by plain parameter (gradients, say), joined as the fused supernet joins its parameters."""
    saved = {parameter: parameter.detach().clone() for parameter in plain.parameters()}
    with torch.no_grad():
        for parameter in saved:
            parameter.copy_(tensors[parameter])
        joined = {parameter: torch.zeros_like(parameter) for parameter in fused.parameters()}
        for fused_tensor, plain_tensor in _pairs(plain, fused, joined):
            fused_tensor.copy_(plain_tensor)
        for parameter, value in saved.items():
            parameter.copy_(value)
    return joined


def _pairs(plain: PlainSupernet, fused: Supernet, into: dict[nn.Parameter, Tensor] | None = None):
    """(part of a fused parameter, plain parameter): the layout of search_space.supernet.mixed_node, spelt out."""

    def target(parameter: nn.Parameter) -> Tensor:
        return parameter if into is None else into[parameter]

    for name in ("alphas", "stem", "classifier"):
        ours, theirs = getattr(fused, name), getattr(plain, name)
        if isinstance(ours, nn.Parameter):
            yield target(ours), theirs
        else:
            yield from ((target(a), b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    for fused_cell, plain_cell in zip(fused.cells, plain.cells, strict=True):
        for a, b in zip(fused_cell.inputs.parameters(), plain_cell.inputs.parameters(), strict=True):
            yield target(a), b
        offset = 0
        for sources, node in zip(fused.space.sources, fused_cell.nodes, strict=True):
            for edge in range(len(sources)):
                operations = plain_cell.edges[offset + edge].operations
                for name, edges in node.separable.items():
                    module = operations[fused.space.operations.index(name)]
                    channels = edges.pointwise[0].shape[1]
                    convolutions = [layer for layer in module if isinstance(layer, nn.Conv2d)]
                    for stage in range(edges.operation.stages):
                        depthwise, pointwise = convolutions[2 * stage : 2 * stage + 2]
                        yield (
                            target(edges.depthwise[stage])[edge * channels : (edge + 1) * channels],
                            depthwise.weight,
                        )
                        yield target(edges.pointwise[stage])[edge], pointwise.weight.flatten(1).T
                if node.reducing_skips is not None and edge < node.strided:
                    skip = operations[fused.space.operations.index("skip_connect")]
                    yield target(node.reducing_skips.even)[edge], skip.even.weight.flatten(1).T
                    yield target(node.reducing_skips.odd)[edge], skip.odd.weight.flatten(1).T
            offset += len(sources)
