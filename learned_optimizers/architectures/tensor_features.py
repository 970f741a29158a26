"""What the general optimizer sees of each tensor: ratios alone, which no unit of loss, gradient or weights changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from learned_optimizers.architectures.features import Facts

MOMENTUM_SHARES = 1 - torch.tensor([0.5, 0.9, 0.99], dtype=torch.float64)[:, None]  # 1 - decay of momenta
SQUARE_SHARES = 1 - torch.tensor([0.99, 0.999], dtype=torch.float64)[:, None]  # 1 - decay of squared gradients
LEAST = 1e-36  # beside squares: far below those of any gradient, and still a normal number in float32
SLOW, FAST = 0.01, 0.1  # shares of the newest loss in its running means
RISE, SHRINKS, GROWS, GROWS_AT_FIRST = 1.5, 0.4, 1.05, 1.25  # of `restrained`: what is a rise, and its factors
LEAST_RESTRAINT = 0.01
MOST_FEATURE = 3.0
TYPICAL_SIGNALS = torch.tensor([0.5, 1.0, 1.5])  # minus the logarithms that noise alone would be near
TENSOR_FEATURES = 20

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Sides:
    """Tensors as matrices of their first dimension against all others. All are [k].

    narrow, wide: logarithms of the shorter and of the longer side.
    """

    narrow: Tensor
    wide: Tensor
    is_vector: Tensor
    has_kernel: Tensor

    @classmethod
    def of(cls, facts: Facts) -> Sides:
        """Read them from the shapes."""
        first, rest = facts.log_shape[:, 0], facts.log_shape[:, 1:].sum(-1)
        narrow = torch.minimum(first, rest)
        return cls(narrow, torch.maximum(first, rest), narrow == 0, facts.log_shape[:, 2:].sum(-1) > 0)


@dataclass(frozen=True, eq=False)
class TensorSums:
    """Means over each tensor of what the first pass adds up, bias of the first steps corrected: [k, ...].

    gradients, params: of their squares.  momenta: of the squares of each, [k, 3].  squares: of the running squares,
    [k, 2].  agreement: of the gradient times the momentum before it.  alignment: of the two slower momenta's product.
    """

    gradients: Tensor
    params: Tensor
    momenta: Tensor
    squares: Tensor
    agreement: Tensor
    alignment: Tensor

    @classmethod
    def of(cls, sums: Tensor, sizes: Tensor, momentum_scale: Tensor, square_scale: Tensor) -> TensorSums:
        """From sums [k, 9] over tensors of `sizes` [k]. scales: corrections of momenta and squares, [k, 3], [k, 2]."""
        means = sums / sizes[:, None]
        momenta = means[:, 2:5] * momentum_scale.square()
        alignment = means[:, 8] * momentum_scale[:, 1] * momentum_scale[:, 2]
        agreement = means[:, 7] * momentum_scale[:, 1]
        return cls(means[:, 0], means[:, 1], momenta, means[:, 5:7] * square_scale, agreement, alignment)


def correction(shares: Tensor, count: Tensor) -> Tensor:
    """1 / (1 - decay^t) of running means that started at 0 (Kingma & Ba 2015): count [k, 1] -> [k, c]."""
    return 1 / (1 - (1 - shares.to(count).T) ** count)


def signal_shares(means: TensorSums) -> Tensor:
    """Root mean squares of the momenta over that of the gradients, [k, 3]: 1 for signal alone, less with noise."""
    noise = means.squares.mean(-1, keepdim=True)
    return ((means.momenta + LEAST) / (noise + LEAST)).sqrt()


def first_losses(like: Tensor) -> dict[str, Tensor]:
    """Running figures of the training loss before the first one."""
    zeros = ("losses", "first_loss", "loss", "fast_loss", "slow_loss", "loss_spread")
    figures = {name: torch.zeros_like(like) for name in zeros}
    return figures | {"restraint": torch.full_like(like, LEAST_RESTRAINT), "is_calm": torch.ones_like(like)}


def with_loss(shared: Tensors, loss: Tensor) -> dict[str, Tensor]:
    """Update two running means of the loss and its mean distance from the slower one; plain means at first."""
    count = shared["losses"] + 1
    loss = loss.to(count)
    slow = torch.lerp(shared["slow_loss"], loss, (1 / count).clamp(min=SLOW))
    fast = torch.lerp(shared["fast_loss"], loss, (1 / count).clamp(min=FAST))
    spread = torch.lerp(shared["loss_spread"], (loss - slow).abs(), (1 / count).clamp(min=SLOW))
    first = torch.where(count == 1, loss, shared["first_loss"])
    found = {
        "losses": count,
        "first_loss": first,
        "loss": loss,
        "fast_loss": fast,
        "slow_loss": slow,
        "loss_spread": spread,
    }
    return {**shared, **found, **restrained(shared, loss, first)}


def restrained(shared: Tensors, loss: Tensor, first: Tensor) -> dict[str, Tensor]:
    """Return the factor on all steps that follows the loss, and whether the loss never rose.

    It grows from LEAST_RESTRAINT to 1 and shrinks where the loss is RISE times the first one and its faster mean, as
    where inputs are large: one usual step may then be too long. After the first rise it grows slowly, as the window of
    TCP does after a loss (Jacobson 1988).
    """
    is_rise = (first > 0) & (loss > RISE * torch.maximum(first, shared["fast_loss"]))
    is_calm = torch.where(is_rise, 0, shared["is_calm"])
    grown = (shared["restraint"] * torch.where(is_calm > 0, GROWS_AT_FIRST, GROWS)).clamp(max=1)
    shrunk = (SHRINKS * shared["restraint"]).clamp(min=LEAST_RESTRAINT)
    return {"restraint": torch.where(is_rise, shrunk, grown), "is_calm": is_calm}


def brake(shared: Tensors) -> Tensor:
    """Return a factor on all steps, at most 1: the restraint, times less where the loss is above its slower mean and
    above the first. Without losses it is 1; a scalar.
    """
    above = _at_most_1(shared["slow_loss"], shared["loss"]) * _at_most_1(shared["first_loss"], shared["loss"])
    return torch.where(shared["losses"] > 0, above * shared["restraint"], 1)


def _at_most_1(usual: Tensor, loss: Tensor) -> Tensor:
    """Return usual / loss where the loss is higher, else 1, as for losses that have no natural zero."""
    is_high = (usual > 0) & (loss > usual)
    return torch.where(is_high, usual / torch.where(is_high, loss, 1), 1)


def loss_trend(shared: Tensors) -> Tensor:
    """How far the faster mean of the loss is above the slower one, in mean distances of a loss from it: a scalar."""
    spread = shared["loss_spread"]
    return (shared["fast_loss"] - shared["slow_loss"]) / torch.where(spread > 0, spread, 1)


def tensor_features(
    means: TensorSums, shared: Tensors, count: Tensor, sides: Sides, least: Tensor, signals: Tensor
) -> Tensor:
    """What the network over tensors reads: [k, 20], each of size about 1.

    count: steps of each tensor, [k, 1].  least: the size that smaller weights count as, [k].  signals: of
    `signal_shares`.
    """
    noise = means.squares.mean(-1)
    signals = signals.log() + TYPICAL_SIGNALS.to(noise)
    newest, middle, slowest = (square + LEAST for square in (means.gradients, *means.momenta[:, 1:].T))
    agreement = (
        means.agreement * newest.rsqrt() * middle.rsqrt()
    )  # a product of squares would be below what float32 has
    alignment = means.alignment * middle.rsqrt() * slowest.rsqrt()
    growth = _log_ratio(means.squares[:, 0], means.squares[:, 1])
    spike = _log_ratio(means.gradients, noise)
    moved = _log_ratio(means.params, least.square())
    own = torch.stack([*signals.T, agreement, alignment, growth, spike, moved], -1)
    around = own[:, :5].mean(0).expand(len(own), 5)
    time = torch.cat([torch.log1p(count) / 3 - 1, torch.exp(-count / 30)], -1)
    trend = loss_trend(shared).expand(len(own), 1)
    return torch.cat([own, around, time, trend, shape_features(sides)], -1).clamp(-MOST_FEATURE, MOST_FEATURE)


def shape_features(sides: Sides) -> Tensor:
    """Logarithms of a tensor's sides, both about 1 in size, and what kind it is: [k, 4]."""
    kinds = [sides.is_vector.to(sides.narrow), sides.has_kernel.to(sides.narrow)]
    return torch.stack([sides.narrow / 3 - 1, sides.wide / 3 - 1, *kinds], -1)


def _log_ratio(one: Tensor, other: Tensor) -> Tensor:
    """Half the logarithm of a ratio of mean squares."""
    return 0.5 * torch.log((one + LEAST) / (other + LEAST))
