"""Attacks run inside search and adversarial training: cheap, at every step, on the model that is being trained."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.checked import CheckedAttack
from attacks.later_checks import check
from attacks.registry import RECIPE_ATTACKS, TRAINING_ATTACKS
from attacks.spec import AttackSpec, BatchNormStatistics, ImageAttack, Part
from on_demand import chosen


def pgd(eps: float, step: float, steps: int) -> Part:
    """Projected gradient descent from a random start (Madry et al. 2018)."""
    return Part("PGD", {"eps": eps, "alpha": step, "steps": steps, "random_start": True})


def fgsm(eps: float, step: float, steps: int) -> Part:
    """One step of eps from the clean image (Goodfellow et al. 2015)."""
    return Part("FGSM", {"eps": eps})


def fgsm_rs(eps: float, step: float, steps: int) -> Part:
    """One step of 1.25 eps from a random start, then back into the ball (Wong et al. 2020: 10/255 at 8/255)."""
    return Part("FFGSM", {"eps": eps, "alpha": 1.25 * eps})


def n_fgsm(eps: float, step: float, steps: int) -> Part:
    """One step of eps from noise in [-2 eps, 2 eps], up to 3 eps from the image (de Jorge et al. 2022, k = 2)."""
    return Part("NFGSM", {"alpha": eps, "noise": 2 * eps})


def tpgd(eps: float, step: float, steps: int) -> Part:
    """PGD away from the clean image's own probabilities, by KL divergence (Zhang et al. 2019); labels are not read.

    It starts at noise of deviation .001, since the divergence has no slope at the clean image.
    """
    return Part("TPGD", {"eps": eps, "alpha": step, "steps": steps})


def training_attack(
    name: str,
    model: nn.Module,
    *,
    eps: float = 8 / 255,
    step: float = 2 / 255,
    steps: int = 7,
    statistics: BatchNormStatistics = "running",
) -> CheckedAttack:
    """The Linf attack `name` of attacks.registry on `model`, to be called on images and labels at each training step.

    eps: radius of the ball, 0 < eps <= 1; "n_fgsm" leaves it, by up to 2 eps.
    step > 0, steps >= 1: of "pgd" and "tpgd"; the others take one step of their own size.
    statistics: "running" attacks the model as in eval mode; "batch" lets BatchNorm normalise with the batch at hand, as
    it will in the training step, without moving its running statistics. BatchNorm without running statistics, as in a
    supernet, uses the batch's either way, SyncBatchNorm those of its own process. Dropout is in eval mode.

    A random start is drawn from torch's global generator, since torchattacks knows no other: seed that.
    ValueError if a name or number is not one of these.
    """
    _check(step, steps)
    part = chosen("a training attack", {**TRAINING_ATTACKS, **RECIPE_ATTACKS}, name).load()(eps, step, steps)
    return CheckedAttack(model, AttackSpec(name=name, parts=(part,), eps=eps, statistics=statistics))


@dataclass(frozen=True, eq=False, kw_only=True)
class ContinuedPGD:
    """PGD on `model` from a start that is given, such as the perturbation an image had in the epoch before.

    One step or a few then do the work of many (Zheng et al. 2020). Images and labels are checked, and the model is left
    as it was, as by CheckedAttack; nothing in it is random. Numbers and errors are those of training_attack.
    """

    model: nn.Module
    eps: float = 8 / 255
    step: float = 2 / 255
    steps: int = 1
    statistics: BatchNormStatistics = "running"

    def __post_init__(self) -> None:
        _check(self.step, self.steps)
        _ = self.spec  # checks the others

    @property
    def spec(self) -> AttackSpec:
        """Describe the same attack from the images themselves."""
        arguments = {"eps": self.eps, "alpha": self.step, "steps": self.steps, "random_start": False}
        return AttackSpec(name="pgd", parts=(Part("PGD", arguments),), eps=self.eps, statistics=self.statistics)

    def __call__(self, images: Tensor, labels: Tensor, start: Tensor) -> Tensor:
        """The attacked images [N, C, H, W], in [0, 1] and within eps of those given.

        start: the perturbation to begin with, of the images' shape; it is first brought into the ball and the range.
        Raises ValueError when it has another shape or is not finite.
        """
        if start.shape != images.shape:
            raise ValueError(f"expected a finite start of shape {list(images.shape)}, found shape {list(start.shape)}")
        check(start.isfinite().all(), _judge_start)
        return CheckedAttack(self.model, self.spec, build=partial(self._from, start))(images, labels)

    def _from(self, start: Tensor, model: nn.Module) -> ImageAttack:
        def attack(images: Tensor, labels: Tensor) -> Tensor:
            attacked = self._projected(images + start, images)
            for _ in range(self.steps):
                attacked.requires_grad_()
                (slope,) = torch.autograd.grad(F.cross_entropy(model(attacked), labels), attacked)
                attacked = self._projected(attacked.detach() + self.step * slope.sign(), images)
            return attacked

        return attack

    def _projected(self, attacked: Tensor, images: Tensor) -> Tensor:
        return (images + (attacked - images).clamp(-self.eps, self.eps)).clamp(0, 1)


def _check(step: float, steps: int) -> None:
    if not 0 < step < math.inf:
        raise ValueError(f"expected step > 0, found {step}; a quarter of eps is common")
    if steps < 1:
        raise ValueError(f"expected steps >= 1, found {steps}; 7 or 10 are common")


def _judge_start(read: Sequence[float]) -> None:
    if not all(read):
        raise ValueError("expected a finite start, found values that are not")
