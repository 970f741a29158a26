"""How a model is attacked: torchattacks, made safe to call in training and in evaluation."""

from typing import TYPE_CHECKING

from on_demand import exports

if TYPE_CHECKING:
    from attacks.checked import CheckedAttack, check_images
    from attacks.evaluation_attacks import evaluation_attack
    from attacks.expectation import ExpectedLogits
    from attacks.guarded_model import undisturbed
    from attacks.later_checks import LaterChecks, checked_later, collected_checks
    from attacks.passes import Passes, counted_passes
    from attacks.registry import EVALUATION_ATTACKS, TRAINING_ATTACKS, EvaluationAttack
    from attacks.training_attacks import ContinuedPGD, training_attack
else:
    __getattr__ = exports(__name__, __file__)

__all__ = [
    "EVALUATION_ATTACKS",
    "TRAINING_ATTACKS",
    "CheckedAttack",
    "ContinuedPGD",
    "EvaluationAttack",
    "ExpectedLogits",
    "LaterChecks",
    "Passes",
    "check_images",
    "checked_later",
    "collected_checks",
    "counted_passes",
    "evaluation_attack",
    "training_attack",
    "undisturbed",
]
