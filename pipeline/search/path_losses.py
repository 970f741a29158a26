"""The losses of a search whose supernet runs single cells: the alphas are a distribution over cells.

    minimise over alpha   the mean, over cells drawn by alpha, of each objective of E2RNAS
    subject to            w* = argmin over w of the mean, over cells drawn alike at all times, of L_train(w, cell)

The cells that weights train on are drawn uniformly (Guo et al. 2020), or with more of the operations that have weights
(`search.relaxation.parametric_odds`).

The gradient of a mean over drawn cells is that of REINFORCE (Williams 1992): each cell's loss, less the mean of the
other cells' (Kool et al. 2019), times the gradient of the logarithm of its probability. All objectives of a step see
the same cells, and MGDA balances their gradients as it does those of a mixture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from lightning_fabric import Fabric
from torch import Tensor

from pipeline.data import Batch
from pipeline.options.objectives import OBJECTIVES
from pipeline.search.objectives import Loss
from pipeline.search.supernet_losses import BatchAttack, SupernetLosses
from search_space import Network
from search_space.supernet.paths import Path, PathDistribution, SinglePath


class PathLosses(SupernetLosses):
    """Computes the losses of single cells of a supernet, and their means over cells that are drawn.

    path: what runs one cell.  attack: on it.  count: cells that the alphas draw in a step, at least 2.
    Which cells are drawn follows from the supernet's `relaxation_state`.
    """

    def __init__(
        self, path: SinglePath, attack: BatchAttack, fabric: Fabric, *, adversarial_fraction: float, count: int
    ) -> None:
        super().__init__(path, attack, fabric, adversarial_fraction=adversarial_fraction)
        self._path, self._supernet, self._count = path, path.supernet, count
        self._cells = PathDistribution(self._supernet.space, self._supernet.relaxation)
        self._training_alphas = self._cells.training_alphas(self._supernet.alphas.detach())

    def validation(self, batch: Batch) -> dict[str, Loss]:
        """Return the mean of each objective over cells that the alphas draw; its gradient in alphas is REINFORCE's."""
        paths = self._drawn(self._supernet.alphas, self._count)
        networks = [self._path.network_of(path.genotype) for path in paths]  # once for all objectives
        return {
            name: partial(self._mean, option.load(), batch, paths, networks)
            for name, option in OBJECTIVES.items()
            if option.code
        }

    def training(self, batch: Batch) -> Loss:
        """Return L_train of one cell, drawn for the weights; its attacked images are made now, and stay."""
        (path,) = self._drawn(self._training_alphas, 1)
        self._path.take(path.genotype)
        return super().training(batch)

    def _drawn(self, alphas: Tensor, count: int) -> list[Path]:
        generator = torch.Generator().manual_seed(self._supernet.relaxation_state.path_seed)
        return [self._cells.draw(alphas, generator) for _ in range(count)]

    def _mean(
        self,
        objective: Callable[[SupernetLosses, Batch], Tensor],
        batch: Batch,
        paths: Sequence[Path],
        networks: Sequence[Network],
    ) -> Tensor:
        """Compute the mean of an objective over cells, with the gradient of its expectation in alphas."""
        values = []
        for network in networks:
            self._path.run(network)
            values.append(objective(self, batch).detach())
        losses = torch.stack(values).double()
        # less the mean of the others is less the mean of all, times n / (n - 1)
        weights = (losses - losses.mean()) / (len(values) - 1)
        scores = self._cells.log_probabilities(self._supernet.alphas, paths)
        surrogate = (weights.to(scores) * scores).sum()
        return losses.mean().to(scores) + surrogate - surrogate.detach()
