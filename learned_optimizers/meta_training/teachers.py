"""Hand-designed optimizers that a learned one can imitate: what they compute, its inputs can say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from learned_optimizers.architectures.features import EPSILON
from learned_optimizers.meta_training.baselines import RATE, BaselineState
from learned_optimizers.meta_training.choices import SHAPES
from on_demand import chosen

DECAY = 0.5  # of the momentum, one of those that learned optimizers accumulate
FINAL_SHARE = 0.1  # of the rate, after the horizon
TEACHER_RATES = (0.01, 0.02, 0.03, 0.05, 0.1)

Shape = Callable[[Tensor], Tensor]


def falling_share(step: Tensor, horizon: int) -> Tensor:
    """Return the part of the rate at a step: half a cosine from 1 to FINAL_SHARE over the horizon, which then stays."""
    done = (step / horizon).clamp(max=1)
    return FINAL_SHARE + (1 - FINAL_SHARE) * (1 + torch.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class NormalisedMomentum:
    """Momentum over its root mean square over the tensor (block-normalised gradients, Yu et al. 2017, 1707.04822).

    The rate falls over `horizon` steps.  shape: of each element's normalised momentum.  An `UpdateRule`.
    """

    shape: Shape
    horizon: int

    def initial_state(self, tensors: Mapping[str, Tensor], params: Sequence[Tensor]) -> BaselineState:
        """Momenta of 0, and the number of steps."""
        return {"step": torch.zeros_like(tensors[RATE]), "momenta": tuple(torch.zeros_like(param) for param in params)}

    def update(
        self,
        tensors: Mapping[str, Tensor],
        state: BaselineState,
        params: Sequence[Tensor],
        gradients: Sequence[Tensor],
        *,
        loss: Tensor | None = None,
        valid_loss: Tensor | None = None,
    ) -> tuple[Sequence[Tensor], BaselineState]:
        """A step of all parameters; losses are not used."""
        rate = tensors[RATE] * falling_share(state["step"], self.horizon)
        momenta = tuple(torch.lerp(g, m, DECAY) for g, m in zip(gradients, state["momenta"], strict=True))
        # the normalisation leaves no bias of the first steps to be corrected
        moved = [p - rate * self.shape(m / (_rms(m) + EPSILON)) for p, m in zip(params, momenta, strict=True)]
        return moved, {"step": state["step"] + 1, "momenta": momenta}


def _rms(tensor: Tensor) -> Tensor:
    return tensor.square().mean().sqrt()


def teacher(name: str, horizon: int) -> NormalisedMomentum:
    """Look a teacher up by name. Raises ValueError that lists them."""
    return NormalisedMomentum(chosen("a teacher", SHAPES, name).load(), horizon)
