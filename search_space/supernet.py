"""The supernet: every edge holds all operations, mixed by the softmax of its alphas (Liu et al. 2019, eq. 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from search_space.genotype import Genotype
from search_space.network import Classifier, Normalize, cell_inputs, stem
from search_space.operations import OPERATIONS, search_batch_norm
from search_space.skeleton import CellPlan, plan_skeleton
from search_space.space import NORMAL, REDUCTION, SearchSpace

_POOLS = ("max_pool_3x3", "avg_pool_3x3")


class MixedEdge(nn.Module):
    """sum_o p_o o(x) over the operations of one edge; `none` adds nothing and is not computed."""

    def __init__(self, space: SearchSpace, channels: int, stride: int) -> None:
        super().__init__()
        self.candidates = space.candidates
        self.operations = nn.ModuleList(
            _search_operation(space.operations[index], channels, stride) for index in space.candidates
        )

    def forward(self, state: Tensor, probabilities: Tensor) -> Tensor:
        """state: [N, C, H, W].  probabilities: [operations], none included."""
        terms = [
            probabilities[index] * operation(state)
            for index, operation in zip(self.candidates, self.operations, strict=True)
        ]
        mixed: Tensor = sum(terms[1:], start=terms[0])
        return mixed


def _search_operation(name: str, channels: int, stride: int) -> nn.Module:
    operation = OPERATIONS[name](channels, stride, search_batch_norm)
    # without a norm of its own a pool would outweigh the normalised operations beside it
    return nn.Sequential(operation, search_batch_norm(channels)) if name in _POOLS else operation


class SearchCell(nn.Module):
    """A cell in which every node reads every earlier state through a mixed edge."""

    def __init__(self, space: SearchSpace, plan: CellPlan) -> None:
        super().__init__()
        self.sources = space.sources
        self.row = REDUCTION if plan.reduction else NORMAL
        self.inputs = cell_inputs(plan, search_batch_norm)
        self.edges = nn.ModuleList(MixedEdge(space, plan.channels, plan.stride(source)) for source in space.edges)

    def forward(self, before: Tensor, last: Tensor, probabilities: Tensor) -> Tensor:
        """probabilities: [2, edges, operations]."""
        states = [inputs(state) for inputs, state in zip(self.inputs, (before, last), strict=True)]
        edges = iter(zip(self.edges, probabilities[self.row], strict=True))
        for sources in self.sources:
            terms = [edge(states[source], row) for source, (edge, row) in zip(sources, edges, strict=False)]
            states.append(sum(terms[1:], start=terms[0]))
        return torch.cat(states[2:], dim=1)


class Supernet(nn.Module):
    """All architectures of a search space at once: images [N, in_channels, H, W] in [0, 1] -> logits [N, num_classes].

    alphas: parameter [2, edges, operations]; row 0 normal cells, row 1 reduction cells; initially 1e-3 N(0, 1).
    BatchNorm uses the batch's statistics in every mode. Initial values come from torch's global generator.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        channels: int = 16,
        layers: int = 8,
        num_classes: int = 10,
        in_channels: int = 3,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        skeleton = plan_skeleton(channels=channels, layers=layers, widths=(space.nodes, space.nodes))
        self.space = space
        self.alphas = nn.Parameter(1e-3 * torch.randn(space.alpha_shape))
        self.normalize = Normalize(in_channels, mean, std)
        self.stem = stem(in_channels, skeleton.stem_channels, search_batch_norm)
        self.cells = nn.ModuleList(SearchCell(space, plan) for plan in skeleton.cells)
        self.classifier = Classifier(skeleton.features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, num_classes] of the mixture that the alphas describe."""
        probabilities = torch.softmax(self.alphas, dim=-1)
        before = last = self.stem(self.normalize(images))
        for cell in self.cells:
            before, last = last, cell(before, last, probabilities)
        logits: Tensor = self.classifier(last)
        return logits

    def weights(self) -> list[nn.Parameter]:
        """All parameters but the alphas."""
        return [parameter for parameter in self.parameters() if parameter is not self.alphas]

    def derive(self) -> Genotype:
        """The genotype of the present alphas."""
        return self.space.derive(self.alphas)
