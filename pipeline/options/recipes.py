"""The recipes of training there are, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from on_demand import Option


@dataclass(frozen=True, kw_only=True)
class Recipe(Option):
    """What a network is trained on, and how; the code is its loss.

    attack: a name of attacks.registry; "given", the one of the settings; "free", that of FreePerturbation; None,
    nothing is attacked.
    words: how a report says that a network was trained by it, of {attack}, {steps} and {replays}.
    smooths: whether its loss holds a cross entropy of labels, and takes `smoothing` for it.
    """

    attack: str | None
    words: str
    smooths: bool = False

    @property
    def beta(self) -> float:
        """Weight of the loss's second term, as published."""
        return float(self.settings.get("beta", 0.0))

    def attack_name(self, given: str) -> str | None:
        """Return the name of an attack; a step of free training is FGSM from a start that is as good as random."""
        return {"given": given, "free": "fgsm_rs"}.get(self.attack, self.attack) if self.attack else None


RECIPES: Mapping[str, Recipe] = {
    "standard": Recipe(
        label="standard",
        meaning="the cross entropy of clean images, as DARTS trains",
        code="pipeline.training.recipes.losses:standard",
        attack=None,
        words="without attacks",
        smooths=True,
    ),
    "pgd_at": Recipe(
        label="adversarial training",
        meaning="the cross entropy of attacked images (Madry et al. 2018)",
        code="pipeline.training.recipes.losses:adversarial",
        attack="given",
        words="under {attack}",
        smooths=True,
    ),
    "trades": Recipe(
        label="TRADES",
        meaning="clean cross entropy, and beta times the divergence that steps against it make (Zhang et al. 2019)",
        code="pipeline.training.recipes.losses:trades",
        attack="tpgd",
        words="by TRADES under PGD-{steps}",
        smooths=True,
        settings={"beta": 6.0},
    ),
    "mart": Recipe(
        label="MART",
        meaning="boosted cross entropy, and beta times a divergence that doubtful images share (Wang et al. 2020)",
        code="pipeline.training.recipes.losses:mart",
        attack="given",
        words="by MART under {attack}",
        smooths=True,
        settings={"beta": 5.0},
    ),
    "fast": Recipe(
        label="fast adversarial training",
        meaning="one step of 1.25 eps from a random start, watched for catastrophic overfitting (Wong et al. 2020)",
        code="pipeline.training.recipes.losses:adversarial",
        attack="fgsm_rs",
        words="under FGSM with a random start",
        smooths=True,
        settings={"check_overfitting": True},
    ),
    "n_fgsm": Recipe(
        label="N-FGSM",
        meaning="one step of eps from noise of 2 eps, unprojected and watched likewise (de Jorge et al. 2022)",
        code="pipeline.training.recipes.losses:adversarial",
        attack="n_fgsm",
        words="under N-FGSM",
        smooths=True,
        settings={"check_overfitting": True},
    ),
    "free": Recipe(
        label="free adversarial training",
        meaning="each batch is replayed, and a backward pass serves weights and attack (Shafahi et al. 2019)",
        code="pipeline.training.recipes.losses:adversarial",
        attack="free",
        words="by free adversarial training with {replays}",
        smooths=True,
        settings={"check_overfitting": True},
    ),
}
