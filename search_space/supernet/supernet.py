"""The supernet: every edge holds all operations, mixed by the softmax of its alphas (Liu et al. 2019, eq. 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from search_space.cells.genotype import CELL_INPUTS, Genotype
from search_space.cells.space import NORMAL, REDUCTION, SearchSpace
from search_space.kernels.channels_last import as_images, as_rows
from search_space.kernels.statistics import Normalising
from search_space.network.nasbench201 import OneInputSearchCell, ResidualLayer
from search_space.network.network import Normalize, cell_inputs, classifier, stem
from search_space.network.operations import even_and_odd_pixels, search_batch_norm
from search_space.network.passes import announce
from search_space.network.skeleton import CellPlan, plan_skeleton
from search_space.places import entries
from search_space.supernet.mixed_node import WEIGHT_FREE, MixedNode, weight_free
from search_space.supernet.relaxation import DARTS, Relaxation, RelaxationState


class SearchCell(Normalising, nn.Module):
    """A cell in which every node reads every earlier state through a mixed edge.

    partial: 1 / partial of a state's channels go through the operations, and the others pass by them to the node, where
    a shuffle puts them among the first (partial channels; Xu et al. 2020).
    """

    def __init__(self, space: SearchSpace, plan: CellPlan, partial: int = 1) -> None:
        super().__init__()
        if plan.channels % partial:
            raise ValueError(f"a cell of {plan.channels} channels has no part of 1 / {partial} of them")
        self.space = space
        self.plan = plan
        self.partial = partial
        self.row = REDUCTION if plan.reduction else NORMAL
        self.inputs = cell_inputs(plan, search_batch_norm)
        self.nodes = nn.ModuleList(
            MixedNode(space.operations, plan.channels // partial, [plan.stride(source) for source in sources])
            for sources in space.sources
        )

    def forward(self, before: Tensor, last: Tensor, probabilities: Tensor) -> Tensor:
        """probabilities: [2, edges, operations]."""
        weights = probabilities[self.row]
        of_node = torch.split(weights, [len(sources) for sources in self.space.sources])
        whole = [inputs(state) for inputs, state in zip(self.inputs, (before, last), strict=True)]
        states = [self._part(state) for state in whole]
        rectified = [F.relu(state) for state in states]
        halves = even_and_odd_pixels(torch.cat(rectified, dim=1)) if self.plan.reduction else None
        weight_free_terms: list[list[Tensor]] = [[] for _ in self.nodes]
        for source in range(CELL_INPUTS):
            self._spread(source, states[source], weights, weight_free_terms)
        for node, mixed in enumerate(self.nodes):
            terms = weight_free_terms[node]
            learned = mixed(states, rectified, halves, of_node[node])
            total = sum(terms, start=learned) if learned is not None else sum(terms[1:], start=terms[0])
            whole.append(total if self.partial == 1 else self._with_others(total, whole, of_node[node]))
            states.append(self._part(whole[-1]))
            rectified.append(F.relu(states[-1]))
            self._spread(CELL_INPUTS + node, states[-1], weights, weight_free_terms)
        return torch.cat(whole[CELL_INPUTS:], dim=1)

    def _part(self, state: Tensor) -> Tensor:
        """Return the channels that go through the operations."""
        if self.partial == 1:
            return state
        return state[:, : self.plan.channels // self.partial].contiguous(memory_format=torch.channels_last)

    def _with_others(self, total: Tensor, whole: Sequence[Tensor], weights: Tensor) -> Tensor:
        """What entered a node through operations and, by the edges' whole weights [edges], what passed them by."""
        others = total.new_zeros(())
        for source, (state, weight) in enumerate(zip(whole, weights.sum(dim=-1), strict=True)):
            passing = state[:, total.shape[1] :]
            if self.plan.stride(source) == 2:
                passing = F.max_pool2d(passing, 2, ceil_mode=True)
            others = others + weight * passing
        joined = torch.cat([total, others], dim=1)
        by_part = joined.view(len(joined), self.partial, -1, *joined.shape[2:])
        return by_part.transpose(1, 2).reshape(joined.shape).contiguous(memory_format=torch.channels_last)

    def _spread(self, source: int, state: Tensor, weights: Tensor, terms: list[list[Tensor]]) -> None:
        """Add what the weight-free operations on one state give to every node that reads it, by one product.

        weights: [edges, operations].
        """
        stride = self.plan.stride(source)
        names = [name for name in WEIGHT_FREE if name in self.space.operations]
        names = [name for name in names if stride == 1 or name != "skip_connect"]
        readers = range(max(0, source - CELL_INPUTS + 1), len(self.nodes))
        if not names or not readers:
            return
        outputs = [weight_free(name, state, stride, self.statistics) for name in names]
        columns = [self.space.operations.index(name) for name in names]
        edges = [sum(map(len, self.space.sources[:node])) + source for node in readers]
        places = [edge * weights.shape[1] + column for edge in edges for column in columns]
        scales = entries(weights.flatten(), places).view(len(readers), len(columns))
        stacked = torch.stack([as_rows(output) for output in outputs])
        mixed = (scales @ stacked.flatten(1)).view(len(readers), *stacked.shape[1:])
        for node, rows in zip(readers, mixed, strict=True):
            terms[node].append(as_images(rows, outputs[0]))


def search_layer(space: SearchSpace, plan: CellPlan, partial: int) -> nn.Module:
    """Return what stands at one place of the supernet's stack: a cell of mixed edges or a residual block."""
    if plan.residual:
        return ResidualLayer(plan, search_batch_norm)
    if space.inputs == CELL_INPUTS:
        return SearchCell(space, plan, partial)
    if partial > 1:
        raise ValueError("partial channels are for cells of the DARTS family")
    return OneInputSearchCell(space, plan)


class Supernet(nn.Module):
    """All architectures of a search space at once: images [N, in_channels, H, W] in [0, 1] -> logits [N, num_classes].

    alphas: parameter [cells, edges, operations]; row 0 normal, row 1 reduction cells; initially 1e-3 N(0, 1).
    relaxation: what mixes by them, at the moment of the search that `relaxation_state` gives.
    partial_channels: 1 / partial_channels of a state's channels go through the operations (`SearchCell`).
    recompute: keep the cells' outputs alone for the backward pass, which computes what is inside them again.
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
        relaxation: Relaxation = DARTS,
        partial_channels: int = 1,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        relaxation.check(space)
        skeleton = plan_skeleton(channels=channels, layers=layers, widths=space.widths)
        self.space = space
        self.relaxation = relaxation
        self.relaxation_state = RelaxationState()
        self.recompute = recompute
        self.partial_channels = partial_channels
        self.channels, self.num_classes, self.in_channels = channels, num_classes, in_channels
        self.alphas = nn.Parameter(1e-3 * torch.randn(relaxation.alpha_shape(space)))
        self.normalize = Normalize(in_channels, mean, std)
        self.stem = stem(in_channels, skeleton.stem_channels, search_batch_norm)
        self.cells = nn.ModuleList(search_layer(space, plan, partial_channels) for plan in skeleton.cells)
        norm = search_batch_norm if skeleton.normalises_features else None
        self.classifier = classifier(skeleton.features, num_classes, norm)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, num_classes] of the mixture that the alphas describe."""
        announce(self, images)
        probabilities = self.relaxation.weights(self.space, self.alphas, self.relaxation_state)
        before = last = self.stem(self.normalize(images))
        for cell in self.cells:
            inputs = before, last, probabilities
            output = checkpoint(cell, *inputs, use_reentrant=False) if self.recompute else cell(*inputs)
            before, last = last, output
        logits: Tensor = self.classifier(last)
        return logits

    def weights(self) -> list[nn.Parameter]:
        """List all parameters but the alphas."""
        return [parameter for parameter in self.parameters() if parameter is not self.alphas]

    def derive(self) -> Genotype:
        """Return the genotype of the present alphas."""
        return self.relaxation.derive(self.space, self.alphas)
