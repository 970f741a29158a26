"""The step of a retraining: its recipe's attack and loss, and what a recipe keeps from step to step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F

from attacks import CheckedAttack, checked_later
from pipeline.compute.graphs import TensorCall, captured, graphs_of
from pipeline.compute.processes import mean_over_processes, of_all_processes
from pipeline.options.recipes import RECIPES
from pipeline.settings import Experiment
from pipeline.training.learning_rate import set_learning_rate
from pipeline.training.optimizers import make_weight_optimizer
from pipeline.training.recipes import (
    FreePerturbation,
    Outputs,
    WeightAverage,
    moved,
    unchanged_statistics,
    worst_change,
)
from pipeline.training.steps import at_least_float32, attack_of_settings, clipped_step, loss_of_settings
from search_space import Network, fixed_weights


class TrainingStep:
    """Trains a network on one batch after another, by the recipe of the settings.

    free: the perturbation that free training keeps; None with other recipes.
    kept_network: what is judged and kept; the network itself, or the mean of its weights.
    shape: of an image, [C, H, W].
    """

    def __init__(self, network: Network, experiment: Experiment, fabric: Fabric, shape: Sequence[int]) -> None:
        settings = experiment.retrain
        self._network, self._experiment, self._fabric = network, experiment, fabric
        recipe = RECIPES[settings.recipe]
        self._recipe_loss = loss_of_settings(settings)
        self.weights = list(network.parameters())
        self.optimizer = make_weight_optimizer(self.weights, experiment.weight_optimizer)
        self._average = WeightAverage(network, settings.average_decay) if settings.average_decay else None
        self.kept_network = self._average.network if self._average else network
        self._attack: TensorCall | None = None
        self.free: FreePerturbation | None = None
        if recipe.attack == "free":
            batch = (settings.batch_size // fabric.world_size, *shape)
            self.free = FreePerturbation(batch, settings.attack.eps, fabric.device)
        elif (name := recipe.attack_name(settings.attack.name)) is not None:
            attack = partial(self._attacked_by, attack_of_settings(network, settings.attack, name))
            self._attack = captured(attack, graphs_of(experiment.fabric, fabric))

    @property
    def replays(self) -> int:
        """Return how often a batch is trained on before the next one."""
        return self._experiment.retrain.replays if self.free else 1

    def step(self, images: Tensor, labels: Tensor, *, epoch: int, rate: float) -> dict[str, float]:
        """Train on a batch at a learning rate, by the loss of the recipe on images that its attack changes first."""
        set_learning_rate(self.optimizer, rate)
        with checked_later() as checks:
            attacked = self.attacked(images, labels)
        leaves = [*self.weights, *([self.free.value] if self.free else [])]
        with self._weights_of_step(images, attacked.detach(), labels, epoch):
            loss, accuracy = self._loss(images, attacked, labels)
            slopes = _slopes(loss, leaves)
        if self.free:
            self.free.ascend(slopes.pop())
        *slopes, figures = mean_over_processes(self._fabric, [*slopes, torch.stack([loss.detach(), accuracy])])
        clip = self._experiment.weight_optimizer.clip
        loss_value, accuracy_value, norm = clipped_step(
            self.optimizer, self.weights, slopes, clip, figures=figures, checks=checks
        )
        if self._average:
            self._average.update(self._network)
        return {"training_loss": loss_value, "training_accuracy": accuracy_value, "gradient_norm": norm}

    def attacked(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the images as the attack of training leaves them."""
        if self.free:
            return self.free.on(images)
        if self._attack is None:
            return images
        (attacked,) = self._attack(images, labels)
        return attacked

    def _attacked_by(self, attack: CheckedAttack, images: Tensor, labels: Tensor) -> list[Tensor]:
        with self._fabric.autocast(), fixed_weights(self._network):
            return [attack(images, labels)]

    @torch.no_grad()
    def share_statistics(self) -> None:
        """Give every process the mean of all processes' BatchNorm statistics: one network is judged and stored."""
        statistics = self._statistics()
        for buffer, mean in zip(statistics, mean_over_processes(self._fabric, statistics), strict=True):
            buffer.copy_(mean)

    def statistics(self) -> list[Tensor]:
        """Return BatchNorm's statistics of every process along a new first axis; called in all of them."""
        return of_all_processes(self._fabric, [buffer[None] for buffer in self._statistics()])

    @torch.no_grad()
    def restore_statistics(self, statistics: Sequence[Tensor]) -> None:
        """Give this process the statistics that it had."""
        for buffer, values in zip(self._statistics(), statistics, strict=True):
            buffer.copy_(values[self._fabric.global_rank])

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs; called in all processes."""
        return {
            "network": self._network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self._average.state() if self._average else None,
            "perturbation": of_all_processes(self._fabric, [self.free.value.detach()])[0] if self.free else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self._network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self._average:
            self._average.restore(state["average"])
        if self.free:
            self.free.restore(state["perturbation"].chunk(self._fabric.world_size)[self._fabric.global_rank])

    def _statistics(self) -> list[Tensor]:
        """Return BatchNorm's statistics of the network, and of the mean of its weights."""
        networks = [self._network, *([self._average.network] if self._average else [])]
        return [buffer for network in networks for buffer in network.buffers() if buffer.is_floating_point()]

    def _loss(self, images: Tensor, attacked: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the recipe's loss with that of the auxiliary head, and the accuracy on the images that it learns."""
        settings = self._experiment.retrain
        loss, outputs = self._recipe_loss(self._forward, images, attacked, labels)
        if outputs.auxiliary is not None:
            second = F.cross_entropy(outputs.auxiliary, labels, label_smoothing=settings.label_smoothing)
            loss = loss + settings.auxiliary_weight * second
        return loss, (outputs.logits.argmax(dim=1) == labels).float().mean()

    def _forward(self, images: Tensor) -> Outputs:
        with self._fabric.autocast():
            if self._network.auxiliary_head is None:
                return Outputs(at_least_float32(self._network(images)))
            logits, auxiliary = self._network.forward_with_auxiliary(images)
            return Outputs(at_least_float32(logits), at_least_float32(auxiliary))

    @contextmanager
    def _weights_of_step(self, images: Tensor, attacked: Tensor, labels: Tensor, epoch: int) -> Iterator[None]:
        """Move to the weights at which the step takes its gradient: worse ones nearby, with AWP."""
        settings = self._experiment.retrain
        if settings.awp_gamma == 0 or epoch < settings.awp_warmup:
            yield
            return
        with unchanged_statistics(self._network):
            slopes = _slopes(self._loss(images, attacked, labels)[0], self.weights)
        changes = worst_change(self.weights, mean_over_processes(self._fabric, slopes), settings.awp_gamma)
        with moved(self.weights, changes):
            yield


def _slopes(loss: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    # zeros where a cell leaves an operation's output to none or noise
    return list(torch.autograd.grad(loss, leaves, materialize_grads=True))
