"""The attacks there are, by name: those of search and training, and those of evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from on_demand import Option


@dataclass(frozen=True, kw_only=True)
class TrainingAttack(Option):
    """An attack of every training step; its code makes a Part of a radius, a step and a number of steps.

    has_steps: it takes as many steps as the settings say, and may go on from where it ended; else one of its own.
    """

    has_steps: bool = False


TRAINING_ATTACKS: Mapping[str, TrainingAttack] = {
    "pgd": TrainingAttack(
        label="PGD",
        meaning="projected gradient descent from a random start (Madry et al. 2018)",
        code="attacks.training_attacks:pgd",
        has_steps=True,
    ),
    "fgsm": TrainingAttack(
        label="FGSM",
        meaning="one step of eps from the clean image (Goodfellow et al. 2015)",
        code="attacks.training_attacks:fgsm",
        settings={"steps": 1},
    ),
    "fgsm_rs": TrainingAttack(
        label="FGSM with a random start",
        meaning="one step of 1.25 eps from a random start (Wong et al. 2020)",
        code="attacks.training_attacks:fgsm_rs",
        settings={"steps": 1},
    ),
}

RECIPE_ATTACKS: Mapping[str, TrainingAttack] = {
    "tpgd": TrainingAttack(
        label="TPGD",
        meaning="PGD away from the clean image's own probabilities, without labels (Zhang et al. 2019)",
        code="attacks.training_attacks:tpgd",
        has_steps=True,
    ),
    "n_fgsm": TrainingAttack(
        label="N-FGSM",
        meaning="one step of eps from noise of 2 eps, not brought back into the ball (de Jorge et al. 2022)",
        code="attacks.training_attacks:n_fgsm",
    ),
}
"""Attacks that belong to a recipe, and that nothing else may choose.

TPGD reads no labels and N-FGSM leaves the ball, so that neither says how robust a network is within it.
"""


@dataclass(frozen=True, kw_only=True)
class EvaluationAttack(Option):
    """An attack of evaluation: torchattacks classes, run in turn on the images still classified right, and a budget.

    steps: gradient steps of a run (Square has none).  queries: forward passes of Square.
    randomised: whether restarts find something new.
    targeted: runs aim at one of the 9 likeliest wrong classes after the other (Gowal et al. 2019, MultiTargeted).
    least_classes: what its losses need; APGD-T's compares the four largest logits.
    sweeps: it may serve at several radii.  transfers: it changes every image, so that others can be tried on them.
    Another budget: `dataclasses.replace(EVALUATION_ATTACKS["pgd-20"], label="pgd-50", steps=50)`.
    """

    classes: tuple[str, ...]
    steps: int = 1
    queries: int = 5000
    randomised: bool = True
    targeted: bool = False
    least_classes: int = 2
    sweeps: bool = True
    transfers: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.queries < 1:
            raise ValueError(f"expected steps >= 1 and queries >= 1, found {self.steps} and {self.queries}")

    @property
    def follows_gradient(self) -> bool:
        """Return what its AttackSpec says."""
        return set(self.classes) != {"Square"}


# AutoAttack as published (Croce & Hein 2020): torchattacks.AutoAttack runs APGD and FAB for 10 steps instead of 100.
EVALUATION_ATTACKS: Mapping[str, EvaluationAttack] = {
    attack.label: attack
    for attack in (
        EvaluationAttack(
            label="fgsm",
            meaning="one step of eps (Goodfellow et al. 2015)",
            classes=("FGSM",),
            randomised=False,
            transfers=True,
        ),
        EvaluationAttack(
            label="pgd-20",
            meaning="20 steps of eps / 4 (Madry et al. 2018)",
            classes=("PGD",),
            steps=20,
            transfers=True,
        ),
        EvaluationAttack(
            label="pgd-20-targeted",
            meaning="20 steps to each of the 9 likeliest wrong classes (Gowal et al. 2019)",
            classes=("PGD",),
            steps=20,
            targeted=True,
            sweeps=False,
        ),
        EvaluationAttack(label="pgd-100", meaning="100 steps of eps / 4", classes=("PGD",), steps=100, transfers=True),
        EvaluationAttack(
            label="apgd-ce",
            meaning="PGD that adapts its step, on the cross entropy (Croce & Hein 2020)",
            classes=("APGD",),
            steps=100,
        ),
        EvaluationAttack(
            label="apgd-t",
            meaning="the same to each of the 9 likeliest wrong classes, on the difference of logits ratio",
            classes=("APGDT",),
            steps=100,
            least_classes=4,
        ),
        EvaluationAttack(
            label="cw",
            meaning="the nearest error in L2, counted within `evaluate.cw_radius` (Carlini & Wagner 2017)",
            classes=("CW",),
            steps=200,
            randomised=False,
            sweeps=False,
        ),
        EvaluationAttack(
            label="square",
            meaning="random squares, without gradients (Andriushchenko et al. 2020)",
            classes=("Square",),
        ),
        EvaluationAttack(
            label="autoattack",
            meaning="APGD-CE, APGD-T, FAB-T and Square in turn (Croce & Hein 2020)",
            classes=("APGD", "APGDT", "FAB", "Square"),
            steps=100,
            least_classes=4,
        ),
    )
}
