"""Several seeds of one cell, trained side by side by one recipe, and measured after every epoch and at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from attacks import EVALUATION_ATTACKS, CheckedAttack, evaluation_attack
from pipeline.compute.fabric import lay_out
from pipeline.compute.seeds import seed_stream, stream_seed
from pipeline.data import ImageData, ImageSet
from pipeline.evaluation.accuracy import CLEAN, classified_right
from pipeline.options.recipes import RECIPES
from pipeline.settings import Experiment
from pipeline.studies.work import seeded
from pipeline.training.learning_rate import rate_of_epoch, set_learning_rate
from pipeline.training.network_trainer import initial_network
from pipeline.training.optimizers import make_weight_optimizer, take_step
from pipeline.training.recipes import Outputs, WeightAverage
from pipeline.training.steps import attack_of_settings, loss_of_settings
from pipeline.training.training_images import STAGE, TrainingImages
from search_space import Genotype, Network, fixed_weights
from search_space.network.side_by_side import SideBySide

TOGETHER = frozenset({"PGD", "FGSM"})
"""Classes that change every image they are given. Others go on with those not yet broken, of one network each."""

RightBySeed = tuple[int, ...]
"""Images classified right, one number a seed."""


@dataclass(frozen=True)
class SeedResults:
    """What the seeds of one cell gave. Each tuple has one number a seed.

    trained: training images classified right in each epoch, as the recipe changes them.
    clean, robust: validation images classified right after each epoch, as they are and under the recipe's PGD.
    validation, test: images classified right at the end, by attack, `clean` among them.
    seconds: that the processor computed, or that passed where another device did.
    """

    trained: tuple[RightBySeed, ...]
    clean: tuple[RightBySeed, ...]
    robust: tuple[RightBySeed, ...]
    validation: dict[str, RightBySeed]
    test: dict[str, RightBySeed]
    seconds: float


def train_and_measure(
    experiment: Experiment, data: ImageData, fabric: Fabric, genotype: Genotype, seeds: Sequence[int]
) -> SeedResults:
    """Train the cell's network once a seed, all side by side, and measure each.

    A seed draws the first weights, the order of the images and, with the others, augmentation and attacks; all have
    the same validation part of the training set, drawn by the experiment's own seed. The last weights are measured, or
    their mean with retrain.average_decay.
    """
    # on a machine that others use too, what this process computes says what a cell costs, and not how long it waits
    clock = time.process_time if fabric.device.type == "cpu" else time.monotonic
    started = clock()
    training = SideBySideTraining(experiment, data, fabric, genotype, seeds)
    trained, clean, robust = [], [], []
    for epoch in range(experiment.retrain.epochs):
        trained.append(training.run_epoch(epoch))
        clean.append(training.right_in(training.validation, None, f"epoch {epoch}"))
        robust.append(training.right_in(training.validation, training.judging_attack, f"epoch {epoch}"))
    return SeedResults(
        tuple(trained),
        tuple(clean),
        tuple(robust),
        validation=training.final(training.validation),
        test=training.final(data.test.to(fabric.device)),
        seconds=round(clock() - started, 2),
    )


class SideBySideTraining:
    """Trains the networks of one cell, one a seed, as `retrain` would train each.

    validation: the images that train none.  judging_attack: PGD of the recipe's numbers, on the networks as kept.
    """

    def __init__(
        self, experiment: Experiment, data: ImageData, fabric: Fabric, genotype: Genotype, seeds: Sequence[int]
    ) -> None:
        settings = experiment.retrain
        self._experiment, self._fabric, self._seeds = experiment, fabric, tuple(seeds)
        self._num_classes = data.num_classes
        self._images = TrainingImages(experiment, data, fabric)
        self.validation = self._images.held_back
        channels = settings.channels
        self._networks = SideBySide(
            [initial_network(seeded(experiment, seed), data, genotype, channels=channels) for seed in seeds]
        )
        fabric.to_device(self._networks)
        lay_out(self._networks, experiment.fabric)
        self._weights = list(self._networks.parameters())
        self._optimizer = make_weight_optimizer(self._weights, experiment.weight_optimizer)
        self._average = WeightAverage(self._networks, settings.average_decay) if settings.average_decay else None
        self._loss = loss_of_settings(settings)
        name = RECIPES[settings.recipe].attack_name(settings.attack.name)
        self._attack = None if name is None else attack_of_settings(self._networks, settings.attack, name)
        self.judging_attack = attack_of_settings(self.kept, settings.attack, "pgd")

    @property
    def images_per_epoch(self) -> int:
        """Return how many images each network trains on in an epoch: whole batches."""
        return self._images.steps_per_epoch * self._experiment.retrain.batch_size

    @property
    def kept(self) -> SideBySide:
        """Return the networks that are measured: those that train, or the means of their weights."""
        return cast("SideBySide", self._average.network) if self._average else self._networks

    def run_epoch(self, epoch: int) -> RightBySeed:
        """Train one epoch, from 0; return how many training images of it each network had right."""
        settings, right = self._experiment.retrain, torch.zeros(len(self._seeds), dtype=torch.int64)
        steps, train = self._images.steps_per_epoch, self._images.train
        orders = [
            train.shuffled_indices(settings.batch_size, stream_seed(seed, STAGE, "order", epoch))
            for seed in self._seeds
        ]
        seed_stream(self._experiment.seed, STAGE, epoch, *self._seeds)
        self._networks.train()
        # in a batch, an image of each network follows one of the network before
        indices = (torch.stack(of_seeds, dim=1).flatten() for of_seeds in zip(*orders, strict=True))
        for step, (_, images, labels) in enumerate(train.read(indices)):
            done = epoch + step / steps if settings.rate_interval == "step" else epoch
            rate = rate_of_epoch(self._experiment.weight_optimizer, done, settings.epochs, settings.final_rate)
            set_learning_rate(self._optimizer, rate)
            right += self._by_seed(self._step(self._images.augment(images), labels))
        return tuple(right.tolist())

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Train on a batch; return which of its images were right, bool [N * seeds]."""
        with fixed_weights(self._networks):
            attacked = images if self._attack is None else self._attack(images, labels)
        loss, outputs = self._loss(self._forward, images, attacked, labels)
        # a mean over the images of all networks: each network's own mean counts 1 / seeds in it
        slopes = torch.autograd.grad(loss * len(self._seeds), self._weights, materialize_grads=True)
        clip = self._experiment.weight_optimizer.clip
        if clip is not None:
            clip_each(self._networks, slopes, clip)
        for weight, slope in zip(self._weights, slopes, strict=True):
            weight.grad = slope
        take_step(self._optimizer, loss.detach())
        if self._average:
            self._average.update(self._networks)
        return outputs.logits.argmax(dim=1) == labels

    def _forward(self, images: Tensor) -> Outputs:
        return Outputs(self._networks(images))

    def final(self, images: ImageSet) -> dict[str, RightBySeed]:
        """Return how many images each network has right, clean and under the attacks of evaluate.attacks."""
        found = {CLEAN: self.right_in(images, None, CLEAN)}
        for name in self._experiment.evaluate.attacks:
            if set(EVALUATION_ATTACKS[name].classes) <= TOGETHER:
                # its network hangs on an image's place in the batch, so that none may be left out
                attack = replace(self._evaluation_attack(name, self.kept), saves_passes=False)
                found[name] = self.right_in(images, attack, name)
            else:
                alone = (self.kept.eval().alone(index) for index in range(len(self._seeds)))
                found[name] = tuple(self._right_alone(images, network, name) for network in alone)
        return found

    def _evaluation_attack(self, name: str, network: nn.Module) -> CheckedAttack:
        settings = self._experiment.evaluate
        return evaluation_attack(name, network, eps=settings.eps, norm=settings.norm, num_classes=self._num_classes)

    def _right_alone(self, images: ImageSet, network: Network, name: str) -> int:
        attack = self._evaluation_attack(name, network)
        batches = images.batches(self._experiment.evaluate.batch_size)
        with fixed_weights(network):
            return sum(int(classified_right(network, attack(*batch), batch[1]).sum()) for batch in batches)

    def right_in(self, images: ImageSet, attack: CheckedAttack | None, purpose: str) -> RightBySeed:
        """Return how many of the images each network has right, under an attack where one is given."""
        networks, right = self.kept.eval(), torch.zeros(len(self._seeds), dtype=torch.int64)
        with fixed_weights(networks):
            for batch, (inputs, labels) in enumerate(images.batches(self._experiment.evaluate.batch_size)):
                repeated, targets = (each.repeat_interleave(len(self._seeds), dim=0) for each in (inputs, labels))
                seed_stream(self._experiment.seed, "tabulate", purpose, batch, *self._seeds)
                changed = repeated if attack is None else attack(repeated, targets)
                right += self._by_seed(classified_right(networks, changed, targets))
        return tuple(right.tolist())

    def _by_seed(self, right: Tensor) -> Tensor:
        """Count by network: bool [N * seeds] -> int64 [seeds], on the CPU."""
        return right.reshape(-1, len(self._seeds)).sum(dim=0).cpu()


@torch.no_grad()
def clip_each(networks: SideBySide, slopes: Sequence[Tensor], largest: float) -> Tensor:
    """Scale each network's gradient, in place, to at most the norm `largest`; return the norms before, [S]."""
    norms = torch.stack([networks.blocks(slope).flatten(1).square().sum(dim=1) for slope in slopes]).sum(dim=0).sqrt()
    factors = (largest / (norms + 1e-6)).clamp(max=1)  # 1e-6: as torch.nn.utils.clip_grad_norm_
    for slope in slopes:
        blocks = networks.blocks(slope)
        blocks.mul_(factors.reshape(-1, *[1] * (blocks.ndim - 1)))
    return norms
