"""AutoAttack's parts as torchattacks has them, whose images leave the moment they are fooled.

torchattacks' APGD and FAB go on with every image to the last step, and then count those that were fooled at any step:
leaving changes which adversarial example is returned, and not which images have one. The exception is APGD-T in L2,
where torchattacks gives all images the step size of the first one, which may have left. FAB looks for the nearest
error; here it is done once one is inside the ball. Square drops fooled images itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torchattacks
from torch import Tensor, nn

from attacks.saving.saving_model import EveryImageFooledError, SavingModel
from attacks.spec import AttackSpec, ImageAttack


class LeavingAPGD(torchattacks.APGD):  # type: ignore[misc]
    """APGD whose images leave."""

    def attack_single_run(self, x_in: Tensor, y_in: Tensor) -> tuple[Any, ...]:
        """Return what torchattacks does: images, which are right, losses, and adversarial images, [N, ...] each."""
        return _run(self, super().attack_single_run, x_in, y_in)


class LeavingAPGDT(torchattacks.APGDT):  # type: ignore[misc]
    """Targeted APGD whose images leave."""

    def attack_single_run(self, x_in: Tensor, y_in: Tensor) -> tuple[Any, ...]:
        """Return what torchattacks does: images, which are right, losses, and adversarial images, [N, ...] each."""
        return _run(self, super().attack_single_run, x_in, y_in)


class LeavingFAB(torchattacks.FAB):  # type: ignore[misc]
    """Targeted FAB whose images leave."""

    def attack_single_run_targeted(self, x: Tensor, y: Tensor, use_rand_start: bool = False) -> Tensor:
        """Return the nearest errors [N, C, H, W], or of images that left what fooled them."""
        with self.model.run(x, y, self.eps, self.norm) as run:
            try:
                found: Tensor = super().attack_single_run_targeted(x, y, use_rand_start)
            except EveryImageFooledError:
                found = run.found
            found[run.left] = run.found[run.left]
            return found


def _run(
    attack: Any, single_run: Callable[[Tensor, Tensor], tuple[Any, ...]], images: Tensor, labels: Tensor
) -> tuple[Any, ...]:
    with attack.model.run(images, labels, attack.eps, attack.norm) as run:
        try:
            best, right, loss, found = single_run(images, labels)
        except EveryImageFooledError:
            return (
                run.found,
                torch.zeros_like(labels, dtype=torch.bool),
                torch.zeros(len(labels), device=labels.device),
                run.found,
            )
        found[run.left] = run.found[run.left]
        return best, right, loss, found


LEAVING: Mapping[str, Callable[..., Any]] = {"APGD": LeavingAPGD, "APGDT": LeavingAPGDT, "FAB": LeavingFAB}


def build_saving(spec: AttackSpec, model: nn.Module) -> ImageAttack:
    """Return the attack of `spec` on `model`, which finds what it finds and passes fewer images."""
    return spec.build(SavingModel(model), classes=LEAVING)
