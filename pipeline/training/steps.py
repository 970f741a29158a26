"""What search and retraining share: attack and loss of a training step, and the step of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from attacks import CheckedAttack, ContinuedPGD, LaterChecks, collected_checks, training_attack
from learned_optimizers import LearnedOptimizer
from pipeline.options.recipes import RECIPES
from pipeline.settings import AttackSettings, RetrainSettings
from pipeline.training.optimizers import take_step
from pipeline.training.recipes import BatchLoss


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Put `where` before the message of a figure that stopped being finite: an objective, a step, an epoch.

    So it stands before those of checks in the block that are judged after it.
    """
    later = collected_checks()
    try:
        with later.named(where) if later else nullcontext():
            yield
    except FloatingPointError as error:
        raise FloatingPointError(f"{where}: {error}") from error


def attack_of_settings(model: nn.Module, settings: AttackSettings, name: str | None = None) -> CheckedAttack:
    """The attack that the settings describe; name: another one of attacks.TRAINING_ATTACKS, by the same numbers."""
    return training_attack(
        name or settings.name,
        model,
        eps=settings.eps,
        step=_step(settings),
        steps=settings.steps,
        statistics=settings.statistics,
    )


def continued_attack_on(model: nn.Module, settings: AttackSettings) -> ContinuedPGD:
    """The settings' attack, from a start that each call gives."""
    return ContinuedPGD(
        model=model,
        eps=settings.eps,
        step=_step(settings),
        steps=settings.steps,
        statistics=settings.statistics,
    )


def loss_of_settings(settings: RetrainSettings) -> BatchLoss:
    """The loss of the settings' recipe, with its beta and, where it holds a cross entropy of labels, their smoothing.

    An attack follows the plain cross entropy all the same (as Pang et al. 2021): its classes are not smoothed. In free
    training one backward pass serves both, so that its perturbation follows the smoothed loss.
    """
    recipe = RECIPES[settings.recipe]
    beta = recipe.beta if settings.beta is None else settings.beta
    smoothing = {"smoothing": settings.label_smoothing} if recipe.smooths else {}
    return partial(recipe.load(), beta=beta, **smoothing)


def _step(settings: AttackSettings) -> float:
    return settings.eps / 4 if settings.step is None else settings.step


def at_least_float32(logits: Tensor) -> Tensor:
    """Logits in which a loss can be taken: those of autocast in bfloat16 as float32, others as they are."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def clipped_step(
    optimizer: Optimizer,
    weights: Sequence[nn.Parameter],
    slopes: Sequence[Tensor],
    clip: float | None,
    *,
    figures: Tensor,
    checks: LaterChecks | None = None,
) -> list[float]:
    """Make one step of the optimizer on gradients of at most the norm `clip`; returns figures and norm before clipping.

    figures: [n] of the step, over all processes, the training loss first, for an optimizer that sees it. They are read
    with the norm, as a device is waited for whenever something is. checks: of the step's attack, read with them.
    Raises FloatingPointError, before the weights change, when the norm is not finite, and as `take_step` does; before
    that what the checks raise.
    """
    for weight, slope in zip(weights, slopes, strict=True):
        weight.grad = slope
    norm = torch.nn.utils.clip_grad_norm_(weights, float("inf") if clip is None else clip)
    later = checks or LaterChecks()
    joined: list[float] = torch.cat([figures.double(), norm.double()[None], *later.values]).tolist()
    read, found = joined[: len(figures) + 1], joined[len(figures) + 1 :]
    later.judge(found)
    if not math.isfinite(read[-1]):
        advice = "" if isinstance(optimizer, LearnedOptimizer) else "; lower weight_optimizer.learning_rate"
        raise FloatingPointError(f"the gradient of the training loss is not finite{advice}")
    take_step(optimizer, figures[0])
    optimizer.zero_grad()
    return read
