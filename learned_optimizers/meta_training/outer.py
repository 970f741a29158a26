"""Outer training: Adam, or an optimizer like itself, trains theta on gradients of many unrolled inner trainings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from learned_optimizers.meta_training.choices import Estimator
from learned_optimizers.meta_training.estimators import merge_estimates
from learned_optimizers.meta_training.truncated_unrolls import Estimates, Stream, Truncation, UnrollRecipe
from learned_optimizers.optimizer import LearnedOptimizer
from learned_optimizers.tasks import Bucket, seeded_generator
from learned_optimizers.tasks.task import uniform
from learned_optimizers.theta import Theta

JITTER = (0.8, 1.2)  # times the length of a truncation (Metz et al. 2019)

EstimateMapper = Callable[[Callable[[Truncation], Estimates], Iterable[Truncation]], Iterable[Estimates]]
"""The built-in map, or that of a pool of processes; results in the order of the truncations."""


@dataclass(frozen=True)
class Lengths:
    """Inner steps of a truncation: from `first` to `last` in a line over `ramp` outer steps, then `last`."""

    first: int
    last: int
    ramp: int

    def at(self, step: int, generator: torch.Generator) -> int:
        """Return the length at an outer step, times U(.8, 1.2)."""
        mean = self.first + (self.last - self.first) * min(1.0, step / self.ramp)
        return max(1, round(mean * uniform(*JITTER, generator)))


class OuterTraining:
    """Theta, what trains it, and a stream of inner training for each bucket of tasks; at each step some streams go on.

    scales: of each bucket's tasks, [tasks, 2].  streams: that go on in a step.  clip: of each element of the gradient.
    trainer: theta of a learned optimizer that takes the steps, with the training loss for both losses that it may see
    (self-training of Metz et al. 2020), and decides on their size; None for Adam.  learning_rate: of Adam.
    Everything random is drawn from the recipe's seed and the number of the step, so that a restored training ends in
    the same bits as one that was never stopped, in any number of processes.
    """

    def __init__(
        self,
        theta: Theta,
        recipe: UnrollRecipe,
        scales: Mapping[Bucket, Tensor],
        *,
        lengths: Lengths,
        streams: int,
        learning_rate: float,
        clip: float,
        trainer: Theta | None = None,
    ) -> None:
        if not 1 <= streams <= len(scales):
            raise ValueError(f"expected 1 to {len(scales)} streams in a step, as many as buckets, found {streams}")
        self._start = theta
        self._vector = theta.vector().detach().clone().requires_grad_()
        self.recipe, self.scales, self.lengths, self.clip = recipe, scales, lengths, clip
        self.streams_a_step = streams
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.Adam([self._vector], lr=learning_rate)
            if trainer is None
            else LearnedOptimizer([self._vector], trainer)
        )
        self.streams: dict[Bucket, Stream] = {}
        self.steps = 0

    @property
    def theta(self) -> Theta:
        """Return theta as it is now."""
        return self._start.with_vector(self._vector.detach().clone())

    def step(self, mapper: EstimateMapper = map) -> dict[str, float]:
        """Make one outer step; return mean normalised loss, gradient norm, and what of it is clipped or not finite."""
        truncations = self._truncations()
        found = list(mapper(Truncation.__call__, truncations))
        for truncation, estimates in zip(truncations, found, strict=True):
            self.streams[truncation.bucket] = estimates.stream
        gradient = combined(found, self.recipe.estimator)
        losses = torch.cat([estimates.losses for estimates in found])
        self._vector.grad = gradient.clamp(-self.clip, self.clip)
        if isinstance(self.optimizer, LearnedOptimizer):
            self.optimizer.step(loss=losses.mean(), valid_loss=losses.mean())
        else:
            self.optimizer.step()
        self.steps += 1
        return {
            "loss": losses.mean().item(),
            "gradient_norm": gradient.norm().item(),
            "clipped": (gradient.abs() > self.clip).float().mean().item(),
            "not_finite": sum(estimates.not_finite for estimates in found) / len(losses),
            "length": truncations[0].length,
        }

    def state(self) -> dict[str, Any]:
        """Collect all that the next steps depend on, for a checkpoint."""
        return {
            "steps": self.steps,
            "vector": self._vector.detach().clone(),
            "optimizer": self.optimizer.state_dict(),
            "streams": [(tuple(bucket), stream.plain()) for bucket, stream in self.streams.items()],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.steps = state["steps"]
        with torch.no_grad():
            self._vector.copy_(state["vector"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.streams = {Bucket(*bucket): Stream.of(stream) for bucket, stream in state["streams"]}

    def _truncations(self) -> list[Truncation]:
        generator = seeded_generator(self.recipe.seed, "outer step", self.steps)
        length = self.lengths.at(self.steps, generator)
        chosen = self._turn()
        theta = self.theta
        return [
            Truncation(self.recipe, bucket, theta, self.streams.get(bucket), length, self.steps, self.scales[bucket])
            for bucket in chosen
        ]

    def _turn(self) -> list[Bucket]:
        """Buckets take turns, in an order that is drawn anew for each round."""
        names, turn = list(self.scales), []
        for place in range(self.steps * self.streams_a_step, (self.steps + 1) * self.streams_a_step):
            generator = seeded_generator(self.recipe.seed, "round", place // len(names))
            turn.append(names[torch.randperm(len(names), generator=generator)[place % len(names)]])
        return list(dict.fromkeys(turn))  # one that ends a round and begins the next goes on once


def combined(found: Sequence[Estimates], estimator: Estimator) -> Tensor:
    """Combine one gradient [n] of the estimates of all truncations, in their order, whichever was computed first."""
    es = torch.cat([estimates.es for estimates in found])
    if estimator in ("es", "pes"):
        return es.mean(0)
    rp = torch.cat([estimates.rp for estimates in found if estimates.rp is not None])
    return rp.mean(0) if estimator == "rp" else merge_estimates(es, rp)
