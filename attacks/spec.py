"""What an attack is, apart from the model: torchattacks classes, their arguments and the ball they search."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

import torch
import torchattacks
from torch import Tensor, nn

from attacks.noise_fgsm import NFGSM

Norm = Literal["Linf", "L2"]
BatchNormStatistics = Literal["running", "batch"]
ImageAttack = Callable[[Tensor, Tensor], Tensor]  # images [N, C, H, W], labels [N] -> images
OWN_CLASSES: Mapping[str, Callable[..., ImageAttack]] = {"NFGSM": NFGSM}
"""Attacks that torchattacks has not, made as its classes are, of `model` and their arguments."""


@dataclass(frozen=True)
class Part:
    """One class of attack with all its arguments but the model, for example PGD(eps=8/255, alpha=2/255, steps=7).

    class_name: of torchattacks, or of OWN_CLASSES.
    target: the attack aims at each image's target-th likeliest wrong class, counted from 1; None: at any wrong one.
    """

    class_name: str
    arguments: Mapping[str, float | str]
    target: int | None = None

    def build(self, model: nn.Module, classes: Mapping[str, Callable[..., Any]] = MappingProxyType({})) -> ImageAttack:
        """Return the attack on `model`, of torchattacks or of OWN_CLASSES.

        classes: by name, what takes the place of those of torchattacks.
        """
        if self.class_name in OWN_CLASSES:
            return OWN_CLASSES[self.class_name](model=model, **self.arguments)
        made = classes.get(self.class_name) or getattr(torchattacks, self.class_name)
        attack = made(model, **self.arguments)
        if self.target is not None:
            attack.set_mode_targeted_by_function(partial(_likely_wrong_class, model, self.target), quiet=True)
        return cast("ImageAttack", attack)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        aimed = {} if self.target is None else {"target": self.target}
        return {"class": self.class_name, "arguments": dict(self.arguments)} | aimed


@torch.no_grad()
def _likely_wrong_class(model: nn.Module, rank: int, images: Tensor, labels: Tensor) -> Tensor:
    """int64 [N]: the rank-th likeliest class that is not the label."""
    logits: Tensor = model(images)
    return logits.scatter(1, labels[:, None], -torch.inf).topk(rank, dim=1).indices[:, -1]


@dataclass(frozen=True, kw_only=True)
class AttackSpec:
    """All that repeats an attack, but for the model, the images and (seed None) torch's global generator.

    parts: attacks in turn; each gets the images that the model still classifies right after those before it.
    norm, eps: the perturbations allowed, |delta| <= eps in that norm (pixels in [0, 1]); 0 < eps, <= 1 for Linf.
    restarts: random starts; an image is broken if any breaks it. PGD has no restarts of its own: it is listed as often.
    statistics: what BatchNorm normalises with during the attack, its running statistics or the batch's.
    num_classes: where it matters, the number of logits the model must have.
    pixel_margin: CW only, how far pixels are brought into (0, 1) before they are attacked.
    draws: passes of a model that draws at random, over which its logits, and so their gradients, are averaged.
    """

    name: str
    parts: tuple[Part, ...]
    eps: float
    norm: Norm = "Linf"
    restarts: int = 1
    statistics: BatchNormStatistics = "running"
    seed: int | None = None
    num_classes: int | None = None
    pixel_margin: float | None = None
    draws: int = 1

    def __post_init__(self) -> None:
        bound = 1.0 if self.norm == "Linf" else float("inf")
        if not 0 < self.eps <= bound:
            raise ValueError(
                f"expected 0 < eps <= {bound:g} in {self.norm}, found {self.eps}; "
                "pixels lie in [0, 1], so 8 of 255 levels are eps=8/255"
            )
        if self.restarts < 1:
            raise ValueError(f"expected restarts >= 1, found {self.restarts}; 1 is a single run")
        if self.statistics not in get_args(BatchNormStatistics):
            raise ValueError(f"expected statistics to be 'running' or 'batch', found {self.statistics!r}")

    @property
    def follows_gradient(self) -> bool:
        """Return whether a part of it needs a gradient of the logits to the images; Square alone tries and looks."""
        return any(part.class_name != "Square" for part in self.parts)

    def build(self, model: nn.Module, classes: Mapping[str, Callable[..., Any]] = MappingProxyType({})) -> ImageAttack:
        """Return the torchattacks object that attacks `model` with every part; `classes` as of Part.build."""
        attacks = [part.build(model, classes) for part in self.parts]
        return attacks[0] if len(attacks) == 1 else cast("ImageAttack", torchattacks.MultiAttack(attacks))

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values, with the library and its version; what does not apply is left out."""
        plain = {
            "name": self.name,
            "library": "torchattacks",
            "version": torchattacks.__version__,
            "attacks": [part.as_dict() for part in self.parts],
            "norm": self.norm,
            "eps": self.eps,
            "restarts": self.restarts,
            "statistics": self.statistics,
            "seed": self.seed,
            "num_classes": self.num_classes,
            "pixel_margin": self.pixel_margin,
            "draws": self.draws if self.draws > 1 else None,
        }
        return {key: value for key, value in plain.items() if value is not None}
