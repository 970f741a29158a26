"""How alphas become the weights by which a supernet mixes operations, and the strengths that a cell is derived from.

Published remedies for collapse, and sampling, are changes of this map; each is off by default, and they combine:

- softmax of an edge's alphas (DARTS; Liu et al. 2019), sigmoid of each (FairDARTS; Chu et al. 2020), a straight-through
  sample of one operation an edge (GDAS; Dong & Yang 2019), or a sample of a Dirichlet distribution (DrNAS; Chen et al.
  2021);
- beta-decay, which keeps an edge's alphas small while they compete (Ye et al. 2022);
- edge normalisation, half of PC-DARTS (Xu et al. 2020); the other half, partial channels, is a matter of the cell;
- an auxiliary skip that decays (DARTS-; Chu et al. 2021), drop path on operations, subsets of operations and of edges;
- single cells in the place of a mixture (Guo et al. 2020), which `paths` draws and runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from search_space.cells.genotype import Genotype
from search_space.cells.space import SearchSpace
from search_space.supernet.host_copies import on_host
from search_space.supernet.relaxation_choices import OPERATION_WEIGHTS, RelaxationChoices


@dataclass(frozen=True)
class RelaxationNoise:
    """Hold what is random in one step: uniform numbers in [0, 1), one tensor a purpose.

    weights, of the operations' weights; dropout, operations: [cells, edges, operations].  edges: [cells, edges].
    """

    weights: Tensor
    dropout: Tensor
    operations: Tensor
    edges: Tensor

    @classmethod
    def draw(cls, space: SearchSpace, generator: torch.Generator, device: torch.device) -> RelaxationNoise:
        """Draw on the CPU, so that every device sees the same numbers."""
        *edges, operations = space.alpha_shape
        drawn = torch.rand(*edges, 3 * operations + 1, generator=generator).to(device)
        weights, dropout, kept, of_edges = torch.split(drawn, [operations] * 3 + [1], dim=-1)
        return cls(weights, dropout, kept, of_edges.squeeze(-1))


@dataclass(frozen=True)
class RelaxationState:
    """Say when in a search, and with which noise, alphas are relaxed.

    progress: part of the search that is over, in [0, 1].  noise: None leaves out all that is random.
    path_seed: of the single cells that are drawn in this step, where a relaxation draws them.
    """

    progress: float = 0.0
    noise: RelaxationNoise | None = None
    path_seed: int = 0


class Relaxation(RelaxationChoices):
    """Alphas [cells, edges, operations] -> weights of the mixture, and strengths, of the same shape.

    With edge normalisation the alphas are [cells, edges, operations + 1]: the last column is that of the edges
    themselves, so that whatever trains, stores or differentiates alphas holds both.
    """

    def alpha_shape(self, space: SearchSpace) -> tuple[int, int, int]:
        """Cells, edges, columns."""
        cells, edges, operations = space.alpha_shape
        return cells, edges, operations + self.normalised_edges

    def strengths(self, space: SearchSpace, alphas: Tensor) -> Tensor:
        """Return what derivation and expected sizes read [..., edges, operations]: no schedule and no noise in it.

        The weights' limit at the end of a search; of random ones, their mean.
        """
        logits, edges = self.split(space, alphas)
        strengths = self._of_operations(logits, None, 1.0)
        return strengths if edges is None else strengths * _softmax_by_node(space, edges).unsqueeze(-1)

    def derive(self, space: SearchSpace, alphas: Tensor) -> Genotype:
        """Return the genotype of the strongest edges and operations, as `SearchSpace.strongest` chooses them.

        Raises ValueError when alphas have another shape or a value that is not finite.
        """
        if tuple(alphas.shape) != self.alpha_shape(space):
            raise ValueError(f"alphas here are {list(self.alpha_shape(space))}, found {list(alphas.shape)}")
        here = on_host(alphas)
        if not bool(torch.isfinite(here).all()):
            raise ValueError("alphas are not finite")
        return space.strongest(self.strengths(space, here.double()))

    def weights(self, space: SearchSpace, alphas: Tensor, state: RelaxationState) -> Tensor:
        """What the supernet multiplies each operation by [cells, edges, operations], at one moment of the search."""
        logits, edges = self.split(space, alphas)
        noise = state.noise
        if noise is not None and self.sampled_operations is not None:
            logits = logits.masked_fill(~_largest(noise.operations, self.sampled_operations, logits), -torch.inf)
        first, last = self.temperature
        uniform = None if noise is None else noise.weights
        weights = self._of_operations(logits, uniform, first + (last - first) * state.progress)
        if noise is not None and self.dropout:
            weights = weights * (noise.dropout >= self.dropout) / (1 - self.dropout)
        if self.auxiliary_skip:
            skips = torch.zeros(space.alpha_shape)
            skips[..., space.operations.index("skip_connect")] = self.auxiliary_skip * (1 - state.progress)
            weights = weights + (skips * space.mask).to(weights)
        factors = self._edge_weights(space, edges, noise)
        return weights if factors is None else weights * factors.unsqueeze(-1)

    @property
    def has_penalty(self) -> bool:
        """Return whether `penalty_gradient` is of anything."""
        return bool(self.zero_one or self.beta_decay)

    def penalty_gradient(self, space: SearchSpace, alphas: Tensor, state: RelaxationState) -> Tensor:
        """Gradient in alphas of what acts on them alone, at one moment of the search.

        zero_one times -mean (sigmoid(alpha) - 1/2)^2 (FairDARTS), and beta_decay, which grows in a line from 0 over the
        search, times the mean over edges of log sum exp(alpha) (beta-DARTS).
        """
        free = alphas.detach().requires_grad_()
        logits, _ = self.split(space, free)
        loss = self.beta_decay * state.progress * torch.logsumexp(logits, dim=-1).mean()
        if self.zero_one:
            loss = loss - self.zero_one * (torch.sigmoid(logits) - 0.5).square().mean()
        return torch.autograd.grad(loss, free)[0]

    def split(self, space: SearchSpace, alphas: Tensor) -> tuple[Tensor, Tensor | None]:
        """Alphas of the operations, -inf where an edge may not hold one, and those of the edges where there are any."""
        if not self.normalised_edges:
            return space.masked(alphas), None
        return space.masked(alphas[..., : len(space.operations)]), alphas[..., -1]

    @cached_property
    def _of_operations(self) -> Callable[[Tensor, Tensor | None, float], Tensor]:
        weights: Callable[[Tensor, Tensor | None, float], Tensor] = OPERATION_WEIGHTS[self.operations].load()
        return weights

    def _edge_weights(self, space: SearchSpace, edges: Tensor | None, noise: RelaxationNoise | None) -> Tensor | None:
        """Factor of each edge [cells, edges]; None for 1."""
        if noise is None or self.sampled_edges is None:
            return None if edges is None else _softmax_by_node(space, edges)
        count = self.sampled_edges
        nodes = torch.split(noise.edges, _sizes(space), dim=-1)
        kept = torch.cat([_largest(node, count, node) for node in nodes], dim=-1)
        if edges is not None:
            return _softmax_by_node(space, edges.masked_fill(~kept, -torch.inf))
        scales = [torch.full_like(node, node.shape[-1] / min(count, node.shape[-1])) for node in nodes]
        return torch.cat(scales, dim=-1) * kept


def _largest(numbers: Tensor, count: int, logits: Tensor) -> Tensor:
    """Find where the `count` largest numbers of each row stand, among those whose logit is not -inf."""
    among = numbers.masked_fill(logits == -torch.inf, -1.0)
    chosen = among.topk(min(count, among.shape[-1]), dim=-1).indices
    return torch.zeros_like(among, dtype=torch.bool).scatter(-1, chosen, True)


def _sizes(space: SearchSpace) -> list[int]:
    """Return how many edges enter each node."""
    return [len(sources) for sources in space.sources]


def _softmax_by_node(space: SearchSpace, edges: Tensor) -> Tensor:
    """Softmax over the edges that enter each node. edges: [..., edges]."""
    return torch.cat([torch.softmax(node, dim=-1) for node in torch.split(edges, _sizes(space), dim=-1)], dim=-1)


DARTS = Relaxation()
"""The softmax alone."""
