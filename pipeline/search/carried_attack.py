"""Perturbations that images keep from epoch to epoch, so that an attack of few steps goes on with the work of earlier
ones (ATTA: Zheng et al. 2020, "Efficient adversarial training with transferable adversarial examples").
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning_fabric import Fabric
from torch import Tensor

from attacks import ContinuedPGD
from pipeline.compute.processes import of_all_processes
from pipeline.compute.seeds import stream_seed
from pipeline.data import NOWHERE, Batch, Images, ImageSet, Origin

LEVELS = 127  # largest value of int8 that has a negative


class Perturbations:
    """The perturbation of every image of a set, for its own pixels, wherever augmentation moves them.

    levels: int8 [images, C, H * W], in units of eps / 127, so that none leaves the ball; as many bytes as the images.
    """

    def __init__(self, images: Tensor, eps: float) -> None:
        self.unit = eps / LEVELS
        self.levels = torch.zeros_like(images, dtype=torch.int8).flatten(2)

    def restart(self, seed: int) -> None:
        """Uniform in the ball, drawn from `seed`: the same on every device."""
        generator = torch.Generator().manual_seed(seed)
        self.levels.copy_(torch.randint(-LEVELS, LEVELS + 1, self.levels.shape, generator=generator, dtype=torch.int8))

    def shown(self, origin: Origin) -> Tensor:
        """The perturbations of a batch as its augmented images show them, float [N, C, H * W]; 0 at new pixels."""
        own = self.levels[origin.indices]
        moved = own.gather(2, origin.source.clamp_min(0)[:, None].expand_as(own))
        return torch.where(origin.source[:, None] == NOWHERE, 0, moved).float() * self.unit

    def keep(self, origin: Origin, perturbations: Tensor) -> None:
        """Store the perturbations [N, C, H * W] of augmented images; pixels that are not shown keep theirs."""
        levels = (perturbations / self.unit).round().clamp(-LEVELS, LEVELS).to(torch.int8)
        own = self.levels[origin.indices]
        aside = own.shape[2]  # one more pixel, for those that belong to no image
        target = torch.where(origin.source == NOWHERE, aside, origin.source)[:, None].expand_as(levels)
        self.levels[origin.indices] = torch.nn.functional.pad(own, (0, 1)).scatter(2, target, levels)[..., :aside]


class CarriedAttack:
    """An attack on batches of the parts of a training set, from each image's perturbation of the last time.

    Every process holds the perturbations of all images, since another one may get an image in the next epoch.
    """

    def __init__(
        self, attack: ContinuedPGD, parts: Mapping[str, ImageSet], fabric: Fabric, *, seed: int, reset_every: int | None
    ) -> None:
        self._attack = attack
        self._fabric = fabric
        self._seed = seed
        self._reset_every = reset_every
        self.perturbations = {name: Perturbations(_in_memory(part), attack.eps) for name, part in parts.items()}

    def start_epoch(self, epoch: int) -> None:
        """Start at random in the first epoch and again after each `reset_every`."""
        if epoch == 0 or (self._reset_every is not None and epoch % self._reset_every == 0):
            for name, perturbations in self.perturbations.items():
                perturbations.restart(stream_seed(self._seed, "perturbations", name, epoch))

    def __call__(self, batch: Batch) -> Tensor:
        """The attacked images [N, C, H, W]; their perturbations are kept. Raises ValueError without an origin."""
        origin, images = batch.origin, batch.images
        if origin is None:
            raise ValueError("expected a batch that knows its origin; perturbations are carried over by image")
        perturbations = self.perturbations[origin.part]
        start = perturbations.shown(origin).to(images).view_as(images)
        attacked = self._attack(images, batch.labels, start)
        indices, source, change = of_all_processes(
            self._fabric, [origin.indices, origin.source, (attacked - images).flatten(2)]
        )
        perturbations.keep(Origin(origin.part, indices, source), change)
        return attacked

    def state(self) -> dict[str, Tensor]:
        """Collect all that `restore` needs."""
        return {name: perturbations.levels for name, perturbations in self.perturbations.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to a state."""
        for name, perturbations in self.perturbations.items():
            perturbations.levels.copy_(state[name])


def _in_memory(images: ImageSet) -> Tensor:
    if not isinstance(images, Images):
        raise ValueError(
            "attack.carry_over keeps a perturbation of every image in memory, and so goes with images that are kept "
            "there: use data.streaming=false, data.limit, or an attack without it, such as attack=pgd7"
        )
    return images.images
