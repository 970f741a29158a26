"""The objectives that are losses on images: their values and gradients in alpha, which a graph may record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer

from pipeline.compute.graphs import CapturedCall, MakeGraph, graphs_of
from pipeline.compute.processes import mean_over_processes
from pipeline.data import Batch
from pipeline.options.objectives import OBJECTIVES
from pipeline.search.hypergradient import ObjectiveGradient, first_order, hypergradients
from pipeline.search.objectives import Loss
from pipeline.search.supernet_losses import SupernetLosses
from pipeline.settings import Experiment, SearchSettings
from search_space.supernet.relaxation import Relaxation

BatchTensors = Callable[[Batch], Sequence[Tensor]]
"""From a batch to what a step computes of it."""

Capture = Callable[[BatchTensors], BatchTensors]
"""Lets what a step computes of a batch be recorded in its first call, or leaves it as it is."""


def uncaptured(function: BatchTensors) -> BatchTensors:
    """Leave a function of batches as it is."""
    return function


def capture_of(experiment: Experiment, relaxation: Relaxation, fabric: Fabric) -> Capture:
    """Return what lets the gradients of a search be recorded, where its steps do the same work but for values.

    They do not where a step draws its mixture or its cell, where a mixture follows the epochs, and where perturbations
    are kept by image. What is computed again in a backward pass restores random states, which no graph records.
    """
    varies = relaxation.paths is not None or relaxation.is_random or relaxation.auxiliary_skip
    if varies or experiment.attack.carry_over or experiment.search.recompute:
        return uncaptured
    make_graph = graphs_of(experiment.fabric, fabric)
    return uncaptured if make_graph is None else partial(_captured, make_graph)


def _captured(make_graph: MakeGraph, function: BatchTensors) -> BatchTensors:
    call = CapturedCall(lambda images, labels: function(Batch(images, labels)), make_graph)
    return lambda batch: call(batch.images, batch.labels)


@dataclass(frozen=True)
class ImageObjectives:
    """Computes the losses on validation images, and their gradients in alpha at the w* that `search.order` says.

    names: of all objectives; others than those on images are left out.  losses: on images.
    weights, optimizer: what the losses' gradients in alpha hold fixed, or let answer.
    capture: lets what first order computes be recorded.
    """

    names: Sequence[str]
    losses: SupernetLosses
    weights: Sequence[Tensor]
    alphas: Tensor
    settings: SearchSettings
    optimizer: Optimizer
    fabric: Fabric
    capture: Capture = uncaptured

    def evaluate(self, train: Batch, valid: Batch) -> dict[str, ObjectiveGradient]:
        """Compute value and gradient of each; where weights answer to alpha, they do so on the training batch."""
        if self.settings.order == "first":
            parts = iter(self._recorded(valid))
            return {name: ObjectiveGradient(next(parts), next(parts)) for name in self._names}
        losses, training_loss = self._losses(valid), self.losses.training(train)
        return hypergradients(
            losses, training_loss, self.weights, self.alphas, self.settings, self.optimizer, self._mean
        )

    @cached_property
    def _recorded(self) -> BatchTensors:
        return self.capture(self._first_order)

    def _first_order(self, valid: Batch) -> list[Tensor]:
        """Compute value and gradient of each objective in turn, with the weights held fixed."""
        found = first_order(self._losses(valid), self.alphas, self._mean, weights=self.weights)
        return [part for result in found.values() for part in (result.value, result.gradient)]

    @property
    def _names(self) -> list[str]:
        return [name for name in self.names if OBJECTIVES[name].code]

    def _losses(self, valid: Batch) -> dict[str, Loss]:
        losses = self.losses.validation(valid)
        return {name: losses[name] for name in self._names}

    def _mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return mean_over_processes(self.fabric, tensors)
