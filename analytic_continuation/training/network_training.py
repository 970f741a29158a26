"""Training of the network on simulated data, a batch a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from analytic_continuation.training.batches import Batch, Stream, random_batch
from analytic_continuation.training.shapes import GAUSSIANS
from analytic_continuation.unrolled.network import Unrolled, UnrolledNetwork
from analytic_continuation.unrolled.window import STEP

WARM_UP = 100  # steps
EARLIER_STAGES = 0.3  # weight of the errors of all stages before the last
SCALE_WEIGHT = 0.1  # of the likelihood of the expected error, which moves no density


def l1_error(density: Tensor, truth: Tensor) -> Tensor:
    """Return the integral of |density - truth| over u, [B]; truth has the integral 1."""
    return (density - truth).abs().sum(dim=1) * STEP


def training_loss(found: Unrolled, truth: Tensor) -> Tensor:
    """Return the L1 error of the last stage, with shares of the others' and of the likelihood of the expected error.

    The error's distribution is taken as Laplace's: log scale + |error| / scale.
    """
    last, *earlier = [l1_error(density, truth).mean() for density in reversed(found.densities)]
    distance = (found.density.detach() - truth).abs()
    likelihood = (found.scale.log() + distance / found.scale).mean()
    return last + EARLIER_STAGES * torch.stack(earlier).sum() + SCALE_WEIGHT * likelihood


class NetworkTraining:
    """Adam on seeded simulations, whose learning rate a cosine lowers; each step draws its batch from its number."""

    def __init__(
        self,
        network: UnrolledNetwork,
        *,
        seed: int,
        steps: int,
        batch_size: int,
        learning_rate: float,
        final_rate: float,
        clip: float,
        shapes: str = GAUSSIANS,
    ) -> None:
        self.network = network
        self.steps_done = 0
        self._shapes = shapes
        self._seed, self._steps, self._batch_size, self._clip = seed, steps, batch_size, clip
        self._rates = (learning_rate, learning_rate * final_rate)
        self._optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(0.9, 0.99), fused=True)

    def step(self) -> dict[str, float]:
        """Take one step. -> loss, L1 error of the last density, norm of the gradient before it is clipped."""
        batch = random_batch(self._batch_size, (self._seed, Stream.TRAINS, self.steps_done), self._shapes)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        found = self.network(batch.problems)
        loss = training_loss(found, batch.densities)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self._clip)
        self._optimizer.step()
        self.steps_done += 1
        error = l1_error(found.density.detach(), batch.densities).mean()
        return {"loss": loss.item(), "error": error.item(), "gradient_norm": norm.item()}

    def _rate(self) -> float:
        first, last = self._rates
        cosine = last + (first - last) * (1 + math.cos(math.pi * self.steps_done / self._steps)) / 2
        return cosine * min(1.0, (self.steps_done + 1) / WARM_UP)

    def state(self) -> dict[str, Any]:
        """Collect all that the next steps depend on."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "steps_done": self.steps_done,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.steps_done = state["steps_done"]


@torch.no_grad()
def judged(network: UnrolledNetwork, batches: Sequence[Batch]) -> Tensor:
    """Return the L1 error of every problem of batches, in one row, [problems]."""
    return torch.cat([l1_error(network(batch.problems).density, batch.densities) for batch in batches])
