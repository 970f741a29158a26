"""Gradient estimates of a smoothed loss L(theta) = E l(theta + sigma eps), eps ~ N(0, I) (arXiv 1810.10180).

Every estimator gives one estimate an antithetic pair, as rows of [pairs, n]; their spread over the pairs says how good
their mean is. eps has unit variance here: theta is moved by sigma * eps.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

VARIANCE_FLOOR = 1e-8  # added to the variances that estimates are merged by, as in the authors' code
LEAST_PAIRS = 2  # a variance needs two

LossOfTheta = Callable[[Tensor], Tensor]
"""theta [n] -> a scalar."""


def es_estimates(loss: LossOfTheta, theta: Tensor, eps: Tensor, sigma: float) -> Tensor:
    """(l(theta + sigma eps) - l(theta - sigma eps)) eps / (2 sigma) of each pair: evolution strategies.

    theta: [n].  eps: [pairs, n], unit variance.  -> [pairs, n].  Raises ValueError where shapes or sigma do not fit.
    """
    _check(theta, eps, sigma)
    with torch.no_grad():
        plus, minus = (_over(loss, theta + sign * sigma * eps) for sign in (1, -1))
    return es_from_losses(plus, minus, eps, sigma)


def es_from_losses(plus: Tensor, minus: Tensor, eps: Tensor, sigma: float) -> Tensor:
    """Evolution strategies from losses that are there: [pairs], [pairs], [pairs, n] -> [pairs, n].

    With eps summed over all truncations of an unroll so far, and members that each go on from their own state, this is
    persistent evolution strategies: unbiased for the whole unroll (Vicol, Metz & Sohl-Dickstein 2021).
    """
    return ((plus - minus) / (2 * sigma)).unsqueeze(-1) * eps


def reparameterized_estimates(loss: LossOfTheta, theta: Tensor, eps: Tensor, sigma: float) -> Tensor:
    """(grad l(theta + sigma eps) + grad l(theta - sigma eps)) / 2 of each pair.

    theta: [n].  eps: [pairs, n], unit variance.  -> [pairs, n].  Raises ValueError where shapes or sigma do not fit.
    """
    _check(theta, eps, sigma)
    gradients = []
    for sign in (1, -1):
        moved = (theta + sign * sigma * eps).detach().requires_grad_()
        gradients.append(torch.autograd.grad(_over(loss, moved).sum(), moved)[0])
    return (gradients[0] + gradients[1]) / 2


def merge_estimates(es: Tensor, rp: Tensor, *, held_out: bool = False) -> Tensor:
    """Mean of both, each element weighted by the inverse of its variance over the pairs: [pairs, n] x 2 -> [n].

    Weights from the pairs that they weigh leave a small bias. held_out: weigh each half of the pairs by the variances
    of the other half, which has no such bias where pairs are independent, and costs precision where they are few.
    Raises ValueError where shapes differ or there are too few pairs for a variance.
    """
    least = LEAST_PAIRS * (2 if held_out else 1)
    if es.shape != rp.shape or es.ndim != 2 or len(es) < least:
        raise ValueError(
            f"expected estimates [pairs, n] of one shape with at least {least} pairs, "
            f"found {tuple(es.shape)} and {tuple(rp.shape)}"
        )
    if not held_out:
        return _weighted(es, rp, es, rp)
    half = len(es) // 2
    first, second = (slice(half), slice(half, None))
    halves = [_weighted(es[part], rp[part], es[other], rp[other]) for part, other in ((first, second), (second, first))]
    return (half * halves[0] + (len(es) - half) * halves[1]) / len(es)


def _weighted(es: Tensor, rp: Tensor, es_judges: Tensor, rp_judges: Tensor) -> Tensor:
    """Means of the first two by the inverse variances of the last two."""
    es_variance, rp_variance = (judges.var(0, correction=1) + VARIANCE_FLOOR for judges in (es_judges, rp_judges))
    # (ES / v_ES + RP / v_RP) / (1 / v_ES + 1 / v_RP), in a form that an infinite variance does not make NaN
    share = 1 / (1 + es_variance / rp_variance)
    return share * es.mean(0) + (1 - share) * rp.mean(0)


def _over(loss: LossOfTheta, points: Tensor) -> Tensor:
    return torch.stack([loss(point) for point in points])


def _check(theta: Tensor, eps: Tensor, sigma: float) -> None:
    if theta.ndim != 1 or eps.ndim != 2 or eps.shape[1] != len(theta):
        raise ValueError(
            f"expected theta [n] and eps [pairs, n], found shapes {tuple(theta.shape)} and {tuple(eps.shape)}"
        )
    if not sigma > 0:
        raise ValueError(f"expected sigma > 0, found {sigma}")
