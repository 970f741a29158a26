"""What a search costs: passes of images through a network, and seconds of one core.

A pass is one image forward and backward; forward alone counts a third of one, as the backward pass takes twice as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attacks.registry import EVALUATION_ATTACKS, RECIPE_ATTACKS, TRAINING_ATTACKS
from pipeline.options.recipes import RECIPES
from pipeline.studies.tables.rows import Header

FORWARD = 1 / 3
"""What a forward pass without a backward one counts."""

WRONG_CLASSES = 9  # that a targeted attack aims at


@dataclass(frozen=True)
class Cost:
    """passes: of images, forward and backward.  seconds: of one core."""

    passes: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.passes + other.passes, self.seconds + other.seconds)

    def __mul__(self, times: float) -> Cost:
        return Cost(self.passes * times, self.seconds * times)


@dataclass(frozen=True)
class TrainingPasses:
    """The passes of one training of a table.

    epoch: of training images in an epoch.  glance: of validation images, under the recipe's PGD, after an epoch.
    validation, test: of these images at the end, under the table's attack.  clean: of validation images, unattacked.
    """

    epochs: int
    epoch: float
    glance: float
    validation: float
    test: float
    clean: float

    @property
    def whole(self) -> float:
        """Return those of a training whose network is judged once, on validation images under the table's attack."""
        return self.epochs * self.epoch + self.validation

    @property
    def tabulated(self) -> float:
        """Return those that the table itself took: it also measures after each epoch, and on test images."""
        return self.whole + self.epochs * (self.glance + self.clean) + self.clean + self.test


ONE_TRAINING = TrainingPasses(epochs=1, epoch=1, glance=0, validation=0, test=0, clean=0)
"""Of a table that others published: its passes are not known, and a whole training counts as one."""


def training_passes(header: Header, attack: str) -> TrainingPasses:
    """Count the passes of one training from the settings of a table.  attack: by which its cells are compared."""
    recipe, images = header.settings["retrain"], header.images
    steps = _steps_of_evaluation(attack)
    return TrainingPasses(
        epochs=int(recipe["epochs"]),
        epoch=images.train * passes_of_recipe(recipe),
        glance=images.validation * (int(recipe["attack"]["steps"]) + FORWARD),
        validation=images.validation * (steps + FORWARD),
        test=images.test * (steps + 2 * FORWARD),
        clean=images.validation * FORWARD,
    )


def passes_of_recipe(recipe: Mapping[str, Any]) -> int:
    """Return how often a training image goes through the network: for the steps of its attack, and in the loss."""
    option = RECIPES[recipe["recipe"]]
    name = option.attack_name(recipe["attack"]["name"])
    in_loss = 2 if option.settings.get("beta") else 1  # of the image as it is, and as it is attacked
    if name is None:
        return in_loss
    attacks = {**TRAINING_ATTACKS, **RECIPE_ATTACKS}
    return in_loss + (int(recipe["attack"]["steps"]) if attacks[name].has_steps else 1)


def _steps_of_evaluation(name: str) -> float:
    """Return the gradient steps of an attack on every image; Square has forward passes instead."""
    if name not in EVALUATION_ATTACKS:
        return 0
    attack = EVALUATION_ATTACKS[name]
    runs = len(attack.classes) - ("Square" in attack.classes)
    times = WRONG_CLASSES if attack.targeted or "APGDT" in attack.classes else 1
    return runs * times * attack.steps + (attack.queries * FORWARD if "Square" in attack.classes else 0)
