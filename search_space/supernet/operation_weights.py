"""The functions of OPERATION_WEIGHTS, from the alphas of edges to the weights of their operations.

    weights(logits, uniform, temperature) -> [..., operations], at least 0

logits: [..., operations], -inf where an edge may not hold an operation.
uniform: numbers in [0, 1) of the same shape, from which what is random is drawn; None leaves it out, and gives the
strengths by which a cell is derived.
temperature: above 0, of what is drawn.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

SMALL = -30.0
"""Logarithm of what a Gamma variable is called small below: there, P(a, x) is x^a / Gamma(a + 1) to rounding."""


def softmax(logits: Tensor, uniform: Tensor | None, temperature: float) -> Tensor:
    """Return the softmax of an edge's alphas."""
    return torch.softmax(logits, dim=-1)


def sigmoid(logits: Tensor, uniform: Tensor | None, temperature: float) -> Tensor:
    """Return the sigmoid of each alpha."""
    return torch.sigmoid(logits)


def gumbel_softmax(logits: Tensor, uniform: Tensor | None, temperature: float) -> Tensor:
    """Return 1 for an operation that is drawn by its probability, with the gradient of a softmax (Jang et al. 2017)."""
    if uniform is None:
        return torch.softmax(logits, dim=-1)
    soft = torch.softmax((logits + gumbel(uniform)) / temperature, dim=-1)
    hard = F.one_hot(soft.argmax(dim=-1), soft.shape[-1]).to(soft)
    return hard + (soft - soft.detach())  # value of the sample, gradient of the softmax


def gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel noise of uniform numbers in [0, 1): logits plus it are largest where their softmax would draw."""
    return -torch.log(-torch.log(uniform.clamp_min(torch.finfo(uniform.dtype).tiny)))


def dirichlet(logits: Tensor, uniform: Tensor | None, temperature: float) -> Tensor:
    """Return a sample of the Dirichlet distribution of concentrations elu(alpha) + 1, or its mean without numbers.

    A Gamma variable of each concentration, over their sum; each is found by its quantile, so that a sample can be
    differentiated in the concentrations, and the same numbers give the same sample on every device.
    """
    concentrations = F.elu(logits) + 1
    if uniform is None:
        return concentrations / concentrations.sum(dim=-1, keepdim=True)
    drawn = uniform.double().clamp(torch.finfo(torch.float64).tiny, 1 - 2**-30)
    allowed = concentrations > 0
    of_all = log_gamma_quantile(concentrations.double().where(allowed, 1.0), drawn)
    return torch.softmax(of_all.masked_fill(~allowed, -torch.inf), dim=-1).to(logits)


def log_gamma_quantile(concentration: Tensor, chance: Tensor) -> Tensor:
    """Return the logarithm of what a Gamma variable of rate 1 is below with a chance in (0, 1); float64 in and out.

    Differentiable in the concentration, once.

    >>> import math
    >>> found = log_gamma_quantile(torch.tensor([1.0], dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64))
    >>> math.isclose(found.exp().item(), math.log(2))  # of an exponential variable
    True
    """
    found: Tensor = _LogGammaQuantile.apply(concentration, chance)  # type: ignore[no-untyped-call]
    return found


class _LogGammaQuantile(Function):
    """Solves log P(a, e^t) = log u for t, where P is the regularised incomplete Gamma function.

    The left side is concave in t, so that Newton's steps from below never pass the solution, and
    P(a, x) <= x^a / Gamma(a + 1), with equality for small x, gives such a start.
    """

    STEPS = 28

    @staticmethod
    def forward(ctx: Any, concentration: Tensor, chance: Tensor) -> Tensor:
        start = (chance.log() + torch.lgamma(concentration + 1)) / concentration
        below = start < SMALL
        found = start.clamp_min(SMALL)
        for _ in range(_LogGammaQuantile.STEPS):
            probability = torch.special.gammainc(concentration, found.exp())
            found = found + (chance.log() - probability.log()) / _slope(concentration, found, probability)
        found = torch.where(below, start, found)
        ctx.save_for_backward(concentration, found)
        return found

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Any, ...]:
        concentration, found = ctx.saved_tensors
        below, inside = found < SMALL, found.clamp_min(SMALL)
        of_small = (torch.digamma(concentration + 1) - found) / concentration
        step = 1e-5 * concentration
        more, fewer = (torch.special.gammainc(concentration + by, inside.exp()).log() for by in (step, -step))
        probability = torch.special.gammainc(concentration, inside.exp())
        of_others = -(more - fewer) / (2 * step) / _slope(concentration, inside, probability)
        return slopes[0] * torch.where(below, of_small, of_others), None


def _slope(concentration: Tensor, found: Tensor, probability: Tensor) -> Tensor:
    """Return the derivative of log P(a, e^t) in t: the density times e^t, over P."""
    return (concentration * found - found.exp() - torch.lgamma(concentration)).exp() / probability
