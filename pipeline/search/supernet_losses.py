"""The losses of a search on images: cross entropy, attacked images, and what the weights are trained for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn import functional as F

from attacks import CheckedAttack
from pipeline.data import Batch, ImageData
from pipeline.options.objectives import OBJECTIVES
from pipeline.search.objectives import Loss
from pipeline.settings import Experiment
from pipeline.training.steps import at_least_float32
from search_space import Supernet

BatchAttack = Callable[[Batch], Tensor]
"""From a batch to its attacked images [N, C, H, W]."""


def on_batches(attack: CheckedAttack) -> BatchAttack:
    """Let an attack on images and labels take a batch."""
    return lambda batch: attack(batch.images, batch.labels)


class SupernetLosses:
    """Computes the losses of a supernet, or of one cell that is left of it, at its present weights and alphas.

    attack: on that network.  adversarial_fraction: part of the training loss that is of attacked images, 0 to 1.
    """

    def __init__(self, network: nn.Module, attack: BatchAttack, fabric: Fabric, *, adversarial_fraction: float) -> None:
        self._network = network
        self._attack = attack
        self._fabric = fabric
        self._adversarial_fraction = adversarial_fraction

    def cross_entropy(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute the mean cross entropy of images [N, C, H, W] with labels [N], in float32 or finer."""
        with self._fabric.autocast():
            return F.cross_entropy(at_least_float32(self._network(images)), labels)

    def attacked(self, batch: Batch) -> Tensor:
        """Return the images of a batch as the attack leaves them, [N, C, H, W]."""
        with self._fabric.autocast():
            return self._attack(batch)

    def validation(self, batch: Batch) -> dict[str, Loss]:
        """Return L_val of each objective on images, which are attacked, where they are, when it is computed."""
        return {name: partial(option.load(), self, batch) for name, option in OBJECTIVES.items() if option.code}

    def training(self, batch: Batch) -> Loss:
        """Return L_train on clean and attacked images; these are made now, for the present weights, and stay."""
        fraction = self._adversarial_fraction
        parts = [(1 - fraction, batch.images)] if fraction < 1 else []
        if fraction > 0:
            parts.append((fraction, self.attacked(batch)))
        return lambda: sum(
            (part * self.cross_entropy(inputs, batch.labels) for part, inputs in parts),
            start=batch.images.new_zeros(()),
        )


def training_gradients(losses: SupernetLosses, weights: Sequence[Tensor], batch: Batch) -> list[Tensor]:
    """Compute L_train [] and its gradient in each weight."""
    loss = losses.training(batch)()
    # zeros where a cell that is adapted leaves an output to `none` alone
    return [loss.detach(), *grad(loss, weights, materialize_grads=True)]


def clean_loss(losses: SupernetLosses, batch: Batch) -> Tensor:
    """Compute the cross entropy of clean images."""
    return losses.cross_entropy(batch.images, batch.labels)


def attacked_loss(losses: SupernetLosses, batch: Batch) -> Tensor:
    """Compute the cross entropy of images as the attack leaves them."""
    return losses.cross_entropy(losses.attacked(batch), batch.labels)


def make_supernet(experiment: Experiment, data: ImageData) -> Supernet:
    """Build the supernet of the settings, with initial values from torch's global generator."""
    settings, (mean, std) = experiment.search, data.statistics()
    return Supernet(
        experiment.space.build(),
        channels=settings.channels,
        layers=settings.layers,
        num_classes=data.num_classes,
        in_channels=data.in_channels,
        mean=mean,
        std=std,
        partial_channels=settings.partial_channels,
        recompute=settings.recompute,
        relaxation=settings.relaxation.build(),
    )
