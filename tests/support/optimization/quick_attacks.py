"""Attacks of few steps on a small network, and what counts their success."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from attacks import EVALUATION_ATTACKS, CheckedAttack, EvaluationAttack, evaluation_attack
from tests.support.slowly import slowly

EPS = 24 / 255  # breaks about half of the digits


def quick(name: str) -> EvaluationAttack:
    """The named attack with few steps and queries, enough to break some images and leave others."""
    known = EVALUATION_ATTACKS[name]
    return replace(known, steps=min(known.steps, 60 if name == "cw" else 4), queries=30)


def quicken(patch: pytest.MonkeyPatch, name: str) -> None:
    """Let stages run the named attack with few steps and queries."""
    quickened = {**EVALUATION_ATTACKS, name: quick(name)}
    patch.setattr("attacks.evaluation_attacks.EVALUATION_ATTACKS", quickened)


def quick_attack(name: str, model: nn.Module, **chosen: object) -> CheckedAttack:
    return evaluation_attack(quick(name), model, **{"eps": EPS, **chosen})


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return (model(images).argmax(1) == labels).double().mean().item()


LEAVE = ("apgd-ce", "apgd-t", "autoattack")
"""Attacks whose images leave with what fooled them first, where torchattacks returns what fooled them last."""


def fallen(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Which images the network calls wrong, bool [N]."""
    with torch.no_grad():
        return model(images).argmax(1) != labels


every = pytest.mark.parametrize("name", EVALUATION_ATTACKS)


def but_autoattack(names: Iterable[str] = EVALUATION_ATTACKS) -> list[object]:
    """Return the names, that of AutoAttack marked `slow`: for laws that its parts apgd-t and square show too."""
    return [*(name for name in names if name != "autoattack"), *slowly("autoattack")]
