"""What an aggregator is: a Jacobian, one gradient a row, becomes one direction, with the weights that say how."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

# Lengths of the gradients [m] -> what each gradient is multiplied by [m].
NORMALISATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": torch.ones_like,
    "l2": lambda lengths: lengths.reciprocal().where(lengths > 0, 1),
}


@dataclass(frozen=True, eq=False, kw_only=True)
class GradientWeights:
    """What an aggregator makes of gradients g: the direction sum_i weights_i scales_i g_i.

    weights, scales: [m], float64.
    residual: that of the min-norm problem (see `min_norm`); None where none was solved.
    stationary: the sum is rounding alone, and the direction zero.
    """

    weights: Tensor
    scales: Tensor
    residual: float | None = None
    stationary: bool = False

    def direction(self, jacobian: Tensor) -> Tensor:
        """Return the direction [n], summed in float64, in the dtype of `jacobian` [m, n]."""
        if self.stationary:
            return torch.zeros_like(jacobian[0])
        return ((self.weights * self.scales) @ jacobian.detach().double()).to(jacobian.dtype)


@dataclass(frozen=True, kw_only=True)
class Aggregator(ABC):
    """Jacobian [m, n] -> direction [n], in its dtype and on its device; the call of torchjd.aggregation.

    normalisation: "none", or "l2", which scales every gradient to length 1 before anything else.

    What one call leaves behind for the next is in `state`, so that a run can go on where it was stopped.
    """

    normalisation: str = "none"

    def __post_init__(self) -> None:
        if self.normalisation not in NORMALISATIONS:
            raise ValueError(
                f"expected normalisation to be one of {list(NORMALISATIONS)}, found {self.normalisation!r}"
            )

    def __call__(self, jacobian: Tensor) -> Tensor:
        """The direction [n] that balances the rows of `jacobian` [m, n]."""
        return self.weigh(jacobian).direction(jacobian)

    @abstractmethod
    def weigh(self, jacobian: Tensor, names: Sequence[str] = ()) -> GradientWeights:
        """Return weights and scales of the rows of `jacobian` [m, n], whose objectives are `names`; () numbers them.

        Raises ValueError where `jacobian` is no floating-point matrix.
        """

    def state(self) -> dict[str, Any]:
        """Return what the next call depends on beside its Jacobian: tensors, numbers and containers of them."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:  # noqa: B027 - most aggregators remember nothing
        """Go back to a state."""


@dataclass(frozen=True, kw_only=True)
class PreferenceAggregator(Aggregator):
    """One that can favour objectives.

    preferences: of objectives by name, positive; 1 where not given.
    """

    preferences: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = {name: value for name, value in self.preferences.items() if not 0 < value < math.inf}
        if wrong:
            raise ValueError(f"expected preferences that are positive and finite, found {wrong}")

    def preferred(self, gradients: Tensor, names: Sequence[str]) -> Tensor:
        """The preference of each row of `gradients` [m, n]: [m]. Raises ValueError without the names they are for."""
        if self.preferences and len(names) != len(gradients):
            raise ValueError(
                f"expected the names of {len(gradients)} objectives beside preferences, found {list(names)}; "
                "call `balance`, or `weigh` with names"
            )
        return gradients.new_tensor([self.preferences.get(name, 1.0) for name in names] or [1.0] * len(gradients))


def rows_of(jacobian: Tensor) -> Tensor:
    """Return the gradients in float64. Raises ValueError where `jacobian` is no floating-point matrix."""
    if jacobian.ndim != 2 or not jacobian.is_floating_point():
        raise ValueError(
            f"expected a floating-point Jacobian [m, n], found {jacobian.dtype} {list(jacobian.shape)}; "
            "stack one flat gradient per objective"
        )
    return jacobian.detach().double()
