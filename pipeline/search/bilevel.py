"""The step of a search, equation by equation: alpha moves on validation images, then the weights on training images.

DARTS (Liu et al. 2019, eq. 3 and 4) with several objectives above in the place of one (E2RNAS, Yue et al. 2020):

    minimise over alpha   (L_val(w*, alpha), L_val(w*, alpha) under attack, how far each size is outside its bounds)
    subject to            w* = argmin over w of L_train(w, alpha)

supernet_losses.py has the losses, objectives.py the sizes, hypergradient.py gradients through w* (DARTS, eq. 5 to 8).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from attacks import checked_later
from mgda import Aggregator, balance
from pipeline.compute.processes import mean_over_processes
from pipeline.data import Batch
from pipeline.search.balancing import objectives_row
from pipeline.search.hypergradient import ObjectiveGradient, first_order, on_cpu
from pipeline.search.image_objectives import BatchTensors, ImageObjectives
from pipeline.search.objectives import Bound, exact_cost, resource_losses
from pipeline.search.search_state import SearchState
from pipeline.training.optimizers import show_validation
from pipeline.training.steps import clipped_step
from search_space import CostTable, Supernet
from search_space.supernet.host_copies import copied_later, on_host


@dataclass(frozen=True)
class WeightStep:
    """Brings the weights nearer to the minimum of L_train at the present alphas (DARTS, eq. 4).

    loss_and_gradients: L_train of a batch and its gradient in each weight.
    """

    loss_and_gradients: BatchTensors
    weights: list[nn.Parameter]
    optimizer: Optimizer
    clip: float | None
    fabric: Fabric

    def step(self, train: Batch, *, seen: Sequence[Tensor] = ()) -> dict[str, Any]:
        """Descend d L_train(w, alpha)/dw; returns the figures of metrics.jsonl. seen: what is read with them."""
        with checked_later() as checks:
            found = self.loss_and_gradients(train)
        for tensor in seen:
            checks.add(*copied_later(tensor))
        loss, *slopes = mean_over_processes(self.fabric, found)
        value, norm = clipped_step(self.optimizer, self.weights, slopes, self.clip, figures=loss[None], checks=checks)
        return {"training_loss": value, "weight_gradient_norm": norm}


@dataclass(frozen=True)
class ArchitectureStep:
    """Brings the alphas nearer to a minimum of all objectives at once (DARTS, eq. 3; E2RNAS), by Adam.

    images: the objectives that are losses.  bounds: of those that are sizes.  found: of the last step, by name.
    """

    images: ImageObjectives
    supernet: Supernet
    weight_step: WeightStep
    optimizer: Optimizer
    aggregator: Aggregator
    bounds: Mapping[str, Bound]
    table: CostTable
    found: dict[str, ObjectiveGradient] = field(default_factory=dict, init=False)

    def step(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """Descend along the direction that balances the objectives' gradients; returns the figures of metrics.jsonl."""
        with checked_later() as checks:
            found = self.evaluate_objectives(train, valid)
        self.found.update(on_cpu(found, checks))
        if "accuracy" in self.found:
            show_validation(self.weight_step.optimizer, self.found["accuracy"].value.item())
        # a bound that is kept has no say
        active = [name for name, result in self.found.items() if name not in self.bounds or result.value > 0]
        gradients = {name: result.gradient.flatten() for name, result in self.found.items()}
        balanced = balance(gradients, aggregator=self.aggregator, active=active)
        self._move_alphas(balanced.direction)
        return objectives_row(self.found, self.bounds, balanced)

    def evaluate_objectives(self, train: Batch, valid: Batch) -> dict[str, ObjectiveGradient]:
        """Compute value and gradient in alpha of each objective; w* is what `search.order` says."""
        of_images = self.images.evaluate(train, valid)
        # on the CPU, which knows the alphas: a device would be asked for hundreds of tiny kernels
        alphas = on_host(self.supernet.alphas).detach().requires_grad_()
        sizes = resource_losses(self.bounds, self.table, alphas, self.supernet.relaxation)
        return of_images | first_order(sizes, alphas, list)

    def _move_alphas(self, direction: Tensor) -> None:
        """Move alpha by Adam against a direction, and against a penalty of the relaxation where there is one."""
        alphas, relaxation = self.supernet.alphas, self.supernet.relaxation
        alphas.grad = direction.to(alphas.device).view_as(alphas)
        if relaxation.has_penalty:
            alphas.grad += relaxation.penalty_gradient(self.supernet.space, alphas, self.supernet.relaxation_state)
        self.optimizer.step()
        self.optimizer.zero_grad()


def bilevel_step(
    architecture: ArchitectureStep, weights: WeightStep | None, state: SearchState, train: Batch, valid: Batch
) -> dict[str, Any]:
    """Take a step of alpha, which waits in the first epochs, then one of w where there is one (DARTS, algorithm 1)."""
    derived = exact_cost(architecture.table, architecture.supernet.derive())
    state.redraw()
    row = {"warm_up": True} if state.is_warming_up else architecture.step(train, valid)
    if weights is not None:
        state.redraw()
        row |= weights.step(train, seen=[architecture.supernet.alphas])  # the next step begins with them
    return row | {"derived": derived}
