"""The choice of a cell by perturbation: how much worse the supernet gets without each operation.

An alpha says how much of an operation serves the mixture while it trains, and not what the operation is worth to it in
the end. Wang et al. (2021, DARTS-PT) ask the supernet without the operation. They train its weights again after each
edge that is decided, so that the edges decide one after another; here all are asked at once, of the supernet as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.compute.seeds import seed_stream
from pipeline.data import Batch
from pipeline.search.bilevel_search import BilevelSearch
from pipeline.search.search_images import STAGE
from pipeline.search.selection.continued_search import FixedWeights, even_batches
from pipeline.training.steps import at_least_float32
from search_space import Supernet


def operations_missed(search: BilevelSearch) -> Tensor:
    """Return how much higher a supernet's loss is without each operation, in the place of its alphas.

    The loss is the mean cross entropy over the images that train the alphas, clean and attacked ones as the objectives
    say; attacked are those of the whole mixture. Nothing is random in the mixture, and the other weights of an edge
    stay as they are. [cells, edges, operations], of mean 0 and deviation 1 over the operations that edges may hold.
    """
    supernet, space = search.supernet, search.supernet.space
    search.state.leave_out_noise()
    batches = list(_batches(search))
    weights = supernet.relaxation.weights(space, search.alphas, supernet.relaxation_state).detach()
    missed = torch.zeros_like(weights)
    with torch.no_grad(), _mixed_by(supernet, weights):
        loss = partial(_loss, search, batches)
        whole = loss()
        for place in space.mask.nonzero().tolist():
            without = supernet.alphas[tuple(place)].clone()
            supernet.alphas[tuple(place)] = 0
            missed[tuple(place)] = loss() - whole
            supernet.alphas[tuple(place)] = without
    allowed = missed[space.mask]
    return (missed - allowed.mean()) / allowed.std().clamp_min(torch.finfo(missed.dtype).tiny)


def _batches(search: BilevelSearch) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images with their labels: clean or attacked ones, or both, as the objectives say."""
    names = search.experiment.objectives.names
    seed_stream(search.experiment.seed, STAGE, "perturbation")
    for images, labels in even_batches(search.images.parts["alphas"], search.experiment.search.batch_size):
        if "accuracy" in names:
            yield images, labels
        if "robustness" in names:
            yield search.losses.attacked(Batch(images, labels)), labels


@contextmanager
def _mixed_by(supernet: Supernet, weights: Tensor) -> Iterator[None]:
    """Let a supernet mix by weights that can be changed one by one, in the place of those of its alphas."""
    before = supernet.alphas, supernet.relaxation
    supernet.alphas, supernet.relaxation = nn.Parameter(weights, requires_grad=False), FixedWeights()
    try:
        yield
    finally:
        supernet.alphas, supernet.relaxation = before


def _loss(search: BilevelSearch, batches: list[tuple[Tensor, Tensor]]) -> Tensor:
    with search.fabric.autocast():
        losses = [F.cross_entropy(at_least_float32(search.supernet(images)), labels) for images, labels in batches]
    return torch.stack(losses).mean()
