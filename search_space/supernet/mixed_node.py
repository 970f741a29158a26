"""All mixed edges that enter one node, computed together: sum over edges and operations of p o(x)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.kernels import native
from search_space.kernels.depthwise import depthwise
from search_space.kernels.statistics import Normalising, Statistics
from search_space.network.operations import OPERATIONS, search_batch_norm


@dataclass(frozen=True)
class Separable:
    """A depthwise-separable operation: `stages` times ReLU, depthwise and pointwise convolution, batch norm."""

    kernel: int
    dilation: int
    stages: int


SEPARABLE: Mapping[str, Separable] = MappingProxyType(
    {
        "sep_conv_3x3": Separable(3, 1, 2),
        "sep_conv_5x5": Separable(5, 1, 2),
        "sep_conv_7x7": Separable(7, 1, 2),
        "dil_conv_3x3": Separable(3, 2, 1),
        "dil_conv_5x5": Separable(5, 2, 1),
    }
)
WEIGHT_FREE = ("max_pool_3x3", "avg_pool_3x3", "skip_connect")
"""Computed once a state for all edges that leave it, a skip of stride 2 excepted."""


class SeparableEdges(nn.Module):
    """One separable operation on all edges that enter a node.

    depthwise: of each stage [edges * C, 1, k, k].  pointwise: of each stage [edges, C, C].
    """

    def __init__(self, operation: Separable, channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.operation = operation
        edges, kernel = len(strides), operation.kernel
        self.depthwise = nn.ParameterList(
            _uniform(edges * channels, 1, kernel, kernel, fan_in=kernel**2) for _ in range(operation.stages)
        )
        self.pointwise = nn.ParameterList(
            _uniform(edges, channels, channels, fan_in=channels) for _ in range(operation.stages)
        )

    def forward(self, rectified: Sequence[tuple[Tensor, int]]) -> Tensor:
        """What the first pointwise convolution reads: states after ReLU -> features [N, edges * C, H, W].

        rectified: the states joined along channels, [N, some * C, H, W], by the stride of the edges that leave them.
        """
        weights = self.depthwise[0].split([joined.shape[1] for joined, _ in rectified])
        parts = [
            depthwise(joined, weight, stride=stride, dilation=self.operation.dilation)
            for (joined, stride), weight in zip(rectified, weights, strict=True)
        ]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def next_features(self, stage: int, hidden: Tensor) -> Tensor:
        """What a later stage's pointwise convolution reads, by what the stage before it gave [N, edges * C, H, W]."""
        return depthwise(hidden, self.depthwise[stage], dilation=self.operation.dilation)

    def frozen(self) -> native.SeparableWeights:
        """Return the weights as compiled code takes them."""
        return native.SeparableWeights(self.operation.dilation, list(self.depthwise), list(self.pointwise))


class ReducingSkips(nn.Module):
    """The skips of stride 2 that enter a node: two 1x1 convolutions, the second shifted by a pixel, then batch norm.

    even, odd: [edges, C, channels of that half of the output].
    """

    def __init__(self, channels: int, edges: int) -> None:
        super().__init__()
        self.even = _uniform(edges, channels, channels // 2, fan_in=channels)
        self.odd = _uniform(edges, channels, channels - channels // 2, fan_in=channels)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return the weights of both halves [edges, C, C], 0 for the channels that the other half gives."""
        return F.pad(self.even, (0, self.odd.shape[2])), F.pad(self.odd, (self.even.shape[2], 0))


class MixedNode(Normalising, nn.Module):
    """sum of p o(state) over the edges that enter a node and their operations, the weight-free ones excepted.

    operations: of the search space, none included.  strides: of each edge, by its source.
    """

    def __init__(self, operations: Sequence[str], channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.operations = tuple(operations)
        self.strides = tuple(strides)
        self.strided = sum(stride == 2 for stride in strides)  # the cell's inputs, which come first
        self.separable = nn.ModuleDict(
            {name: SeparableEdges(SEPARABLE[name], channels, strides) for name in operations if name in SEPARABLE}
        )
        skips = "skip_connect" in operations and self.strided
        self.reducing_skips: ReducingSkips | None = ReducingSkips(channels, self.strided) if skips else None
        others = [name for name in operations if name not in (*SEPARABLE, *WEIGHT_FREE, "none")]
        self.others = nn.ModuleDict(
            {
                name: nn.ModuleList(OPERATIONS[name](channels, stride, search_batch_norm) for stride in strides)
                for name in others
            }
        )

    def forward(
        self,
        states: Sequence[Tensor],
        rectified: Sequence[Tensor],
        halves: tuple[Tensor, Tensor] | None,
        probabilities: Tensor,
    ) -> Tensor | None:
        """All states before the node, the same after ReLU, and probabilities [edges, operations] -> [N, C, H, W].

        halves: `even_and_odd_pixels` of the first states, joined, where their edges have stride 2, and else None.
        """
        terms = []
        if self.separable:
            terms.append(self._separable_sum(rectified, probabilities))
        if self.reducing_skips is not None and halves is not None:
            scale = self._of("skip_connect", probabilities)[: self.strided]
            terms.append(self.statistics.normalised_sum(halves, self.reducing_skips(), [scale, scale]))
        for name, modules in self.others.items():
            scale = self._of(name, probabilities)
            terms += [p * module(state) for p, module, state in zip(scale, modules.children(), states, strict=True)]
        return sum(terms[1:], start=terms[0]) if terms else None

    def _separable_sum(self, rectified: Sequence[Tensor], probabilities: Tensor) -> Tensor:
        scales = torch.stack([self._of(name, probabilities) for name in self.separable])
        operations = [cast("SeparableEdges", edges).frozen() for edges in self.separable.values()]
        if not self.statistics.synchronised and native.supports(operations, rectified):
            return native.separable_sum(operations, scales, rectified, self.strides, self._fused_sum)
        return self._fused_sum(scales, *rectified)

    def _fused_sum(self, scales: Tensor, *rectified: Tensor) -> Tensor:
        parts = ((rectified[: self.strided], 2), (rectified[self.strided :], 1))
        joined = [(torch.cat(part, dim=1), stride) for part, stride in parts if part]
        operations = [cast("SeparableEdges", edges) for edges in self.separable.children()]
        features = [edges(joined) for edges in operations]
        for stage in range(1, max(edges.operation.stages for edges in operations)):
            more = [place for place, edges in enumerate(operations) if edges.operation.stages > stage]
            weights = [operations[place].pointwise[stage - 1] for place in more]
            hidden = self.statistics.normalised_relus([features[place] for place in more], weights)
            for place, images in zip(more, hidden, strict=True):
                features[place] = operations[place].next_features(stage, images)
        last = [edges.pointwise[-1] for edges in operations]
        return self.statistics.normalised_sum(features, last, scales.unbind())

    def _of(self, name: str, probabilities: Tensor) -> Tensor:
        return probabilities[:, self.operations.index(name)]


def weight_free(name: str, state: Tensor, stride: int, statistics: Statistics) -> Tensor:
    """A pool with its batch norm, or the identity: what one state gives to all edges that leave it."""
    if name == "skip_connect":
        return state
    if name == "max_pool_3x3":
        pooled = F.max_pool2d(state, 3, stride, padding=1)
    else:
        pooled = F.avg_pool2d(state, 3, stride, padding=1, count_include_pad=False)
    return statistics.batch_norm(pooled)


def _uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """Return initial values of torch.nn.Conv2d."""
    bound = fan_in**-0.5
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))
