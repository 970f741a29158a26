"""Single cells of a supernet, one at a time: drawn by the alphas, and run with the supernet's own weights.

A mixture is trained for what all operations do together, and one cell is not (Guo et al. 2020). Where cells are drawn
instead, the weights serve each of them alone, and the alphas are the parameters of a distribution over cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn
from torch.func import functional_call

from search_space.cells.genotype import Genotype
from search_space.cells.space import SearchSpace
from search_space.kernels.statistics import Normalising, synchronise_statistics
from search_space.network.network import Network
from search_space.network.operations import is_parametric
from search_space.network.passes import announce
from search_space.supernet.host_copies import on_host
from search_space.supernet.inheritance import network_of_path, shared_tensors
from search_space.supernet.operation_weights import gumbel
from search_space.supernet.relaxation import Relaxation
from search_space.supernet.supernet import Supernet


@dataclass(frozen=True)
class Path:
    """A cell that was drawn.

    held: kind of cell, edge and operation, as indices of the alphas, of each edge that it keeps.
    chosen: of each node whose edges were chosen among several, the kind of cell, its first edge, how many edges enter
    it, and the kept ones as they were drawn, counted from the first.
    """

    genotype: Genotype
    held: tuple[tuple[int, int, int], ...]
    chosen: tuple[tuple[int, int, int, tuple[int, ...]], ...]


class PathDistribution:
    """Draws cells by alphas: each edge's operation by their softmax, then the edges that a node keeps, one by one.

    Where a node keeps some of its edges they are drawn without replacement (Plackett 1975), by the softmax of their own
    alphas with `normalised_edges`, and else uniformly. Cells whose output does not depend on their input are drawn
    again.
    """

    def __init__(self, space: SearchSpace, relaxation: Relaxation) -> None:
        self._space, self._relaxation = space, relaxation
        self._sizes = [len(sources) for sources in space.sources]
        self._masks: dict[torch.device, Tensor] = {}

    def draw(self, alphas: Tensor, generator: torch.Generator) -> Path:
        """Draw one cell. alphas: of the relaxation's shape; zeros draw uniformly."""
        operations, edges = self._logits(on_host(alphas).double())
        while True:
            noise = torch.rand((*edges.shape, operations.shape[-1] + 1), generator=generator, dtype=torch.float64)
            best = (operations + gumbel(noise[..., :-1])).argmax(dim=-1)
            strengths = edges + gumbel(noise[..., -1])
            genotype = self._space.assemble(strengths, best)
            if all(cell.passes_on(*[True] * cell.inputs) for cell in genotype.cells.values()):
                return self._path(genotype, strengths, best)

    def training_alphas(self, alphas: Tensor) -> Tensor:
        """Return what draws the cells that weights train on, of the shape of alphas.

        Each operation that an edge may hold is as likely as another, and one with weights `parametric_odds` times as
        likely as one without: the weights of an operation train in those steps alone that draw it.
        """
        training = torch.zeros_like(alphas)
        for column, name in enumerate(self._space.operations):
            if is_parametric(name):
                training[..., column] = log(self._relaxation.parametric_odds)
        return training

    def log_probabilities(self, alphas: Tensor, paths: Sequence[Path]) -> Tensor:
        """Compute the logarithm of each cell's probability among all that are drawn, dead ones included: [paths].

        Its gradient in the alphas is the score of Williams (1992). Edges that the cell leaves out have no part in it
        but by their own alphas.
        """
        operations, edges = self._logits(alphas)
        _, of_kind, of_edge = operations.shape
        places = [(kind * of_kind + edge) * of_edge + name for path in paths for kind, edge, name in path.held]
        chosen = torch.log_softmax(operations, dim=-1).flatten()[torch.tensor(places).to(alphas.device)]
        of_paths = torch.split(chosen, [len(path.held) for path in paths])
        return torch.stack(
            [self._with_edges(part.sum(), edges, path) for part, path in zip(of_paths, paths, strict=True)]
        )

    def _with_edges(self, total: Tensor, edges: Tensor, path: Path) -> Tensor:
        """Add what the choice of edges has to do with a cell's probability to that of its operations."""
        for kind, first, size, order in path.chosen:
            left = edges[kind, first : first + size]
            for place in order:
                total = total + left[place] - torch.logsumexp(left, dim=0)
                left = left.masked_fill(torch.arange(size, device=left.device) == place, -torch.inf)
        return total

    def _logits(self, alphas: Tensor) -> tuple[Tensor, Tensor]:
        """Return those of operations, -inf where a derived cell may not hold one, and those of edges."""
        operations, edges = self._relaxation.split(self._space, alphas)
        operations = operations.masked_fill(self._forbidden(alphas.device), -torch.inf)
        return operations, operations.new_zeros(operations.shape[:-1]) if edges is None else edges

    def _forbidden(self, device: torch.device) -> Tensor:
        """Return which operations a derived cell may not hold, on a device; sent there once."""
        if device not in self._masks:
            self._masks[device] = (~self._space.keepable).to(device)
        return self._masks[device]

    def _path(self, genotype: Genotype, strengths: Tensor, best: Tensor) -> Path:
        held = tuple(
            (kind, edge, operation)
            for kind, cell in enumerate(genotype.cells.values())
            for edge, operation in self._space.held(cell)
        )
        chosen = () if self._space.keeps_all else tuple(self._choices(strengths))
        return Path(genotype, held, chosen)

    def _choices(self, strengths: Tensor) -> Iterator[tuple[int, int, int, tuple[int, ...]]]:
        for kind, row in enumerate(strengths):
            first = 0
            for sources, size in zip(self._space.sources, self._sizes, strict=True):
                order = row[first : first + size].argsort(descending=True)[: self._space.kept(sources)]
                if size > self._space.kept(sources):
                    yield kind, first, size, tuple(order.tolist())
                first += size


class SinglePath(nn.Module):
    """Runs one cell of a supernet with the supernet's own weights, which get its gradients.

    It computes what `inherit` does, without copies. `take` or `run` chooses the cell; before it, there is none to run.
    """

    def __init__(self, supernet: Supernet) -> None:
        super().__init__()
        self.supernet = supernet
        self._taken: Sequence[Network] = ()  # in a tuple: its parameters are none of this module's

    def take(self, genotype: Genotype) -> None:
        """Run this cell from now on. Raises ValueError for one that is not of the supernet's space."""
        self.run(self.network_of(genotype))

    def run(self, network: Network) -> None:
        """Run the cell of a network of `network_of` from now on."""
        self._taken = (network,)

    def network_of(self, genotype: Genotype) -> Network:
        """Build the network of a cell without weights, for `run`; it takes longer than to choose it again.

        Raises ValueError for a cell that is not of the supernet's space.
        """
        with torch.device("meta"):  # it has the shape alone: no memory, and nothing drawn
            network = network_of_path(self.supernet, genotype)
        if any(part.statistics.synchronised for part in self.supernet.modules() if isinstance(part, Normalising)):
            synchronise_statistics(network)
        return network

    def forward(self, images: Tensor) -> Tensor:
        """[N, in_channels, H, W] in [0, 1] -> logits [N, num_classes]."""
        (network,) = self._taken
        announce(self, images)
        logits: Tensor = functional_call(network, dict(shared_tensors(self.supernet, network)), (images,))
        return logits
