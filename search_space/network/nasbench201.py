"""NAS-Bench-201 (Dong & Yang 2020): the residual blocks of its networks, and its cell in a supernet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_space.cells.space import NORMAL, SearchSpace
from search_space.network.operations import OPERATIONS, NormFactory, relu_conv_norm, search_batch_norm
from search_space.network.skeleton import CellPlan


class ResidualBlock(nn.Module):
    """Halves the resolution and doubles the channels: two 3x3 convolutions beside a pooled shortcut; any size."""

    def __init__(self, in_channels: int, out_channels: int, norm: NormFactory) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            relu_conv_norm(in_channels, out_channels, norm, kernel=3, stride=2),
            relu_conv_norm(out_channels, out_channels, norm, kernel=3),
        )
        # ceil_mode: an odd side is halved as the convolutions halve it; an even one, as in the benchmark, is the same
        pool = nn.AvgPool2d(2, stride=2, ceil_mode=True)
        self.shortcut = nn.Sequential(pool, nn.Conv2d(in_channels, out_channels, 1, bias=False))

    def forward(self, images: Tensor) -> Tensor:
        """[N, in_channels, H, W] -> [N, out_channels, ceil(H / 2), ceil(W / 2)]."""
        halved: Tensor = self.convolutions(images) + self.shortcut(images)
        return halved


class ResidualLayer(nn.Module):
    """A residual block in the place of a cell, whose arguments it takes."""

    def __init__(self, plan: CellPlan, norm: NormFactory) -> None:
        super().__init__()
        self.block = ResidualBlock(plan.input_channels[-1], plan.channels, norm)

    def forward(self, before: Tensor, last: Tensor, mixture: object) -> Tensor:
        """Return the block of the output of the cell before; the other two arguments are for cells."""
        halved: Tensor = self.block(last)
        return halved


class OneInputSearchCell(nn.Module):
    """A cell in which every node reads every earlier state through a mixed edge, and the last node is the output."""

    def __init__(self, space: SearchSpace, plan: CellPlan) -> None:
        super().__init__()
        self.space = space
        self.column = {name: column for column, name in enumerate(space.operations)}
        self.edges = nn.ModuleList(
            nn.ModuleDict(
                {
                    name: OPERATIONS[name](plan.channels, plan.stride(source), search_batch_norm)
                    for name, held in zip(space.operations, mask, strict=True)
                    if held and name != "none"
                }
            )
            for source, mask in zip(space.edges, space.mask[NORMAL].tolist(), strict=True)
        )

    def forward(self, before: Tensor, last: Tensor, probabilities: Tensor) -> Tensor:
        """The output of the cell before [N, C, H, W] and probabilities [1, edges, operations] -> the same shape."""
        states, mixed = [last], iter(zip(self.edges, probabilities[NORMAL], strict=True))
        for sources in self.space.sources:
            terms = []
            for source in sources:
                modules, row = next(mixed)
                terms += [row[self.column[name]] * module(states[source]) for name, module in modules.named_children()]
            states.append(sum(terms, start=torch.zeros_like(last)))  # zeros: all may be none
        return states[-1]
