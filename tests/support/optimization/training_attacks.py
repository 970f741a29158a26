"""Training attacks at the radius of these tests."""

import pytest
from torch import nn

from attacks import CheckedAttack, training_attack
from attacks.registry import RECIPE_ATTACKS, TRAINING_ATTACKS

EPS = 24 / 255


STEP = 6 / 255


def attack(name: str, model: nn.Module, **chosen: object) -> CheckedAttack:
    return training_attack(name, model, **{"eps": EPS, "step": STEP, "steps": 3, **chosen})


names = pytest.mark.parametrize("name", [*TRAINING_ATTACKS, *RECIPE_ATTACKS])
