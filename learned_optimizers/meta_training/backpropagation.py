"""Outer training by backpropagation through whole trainings, as of the optimizers of arXiv 2011.02159."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from learned_optimizers.architectures.registry import architecture
from learned_optimizers.meta_training.baselines import UpdateRule
from learned_optimizers.meta_training.normalisation import normalised, weights_of_steps
from learned_optimizers.meta_training.outer import EstimateMapper
from learned_optimizers.meta_training.unroll import Draw
from learned_optimizers.tasks import Bucket, Task, TaskTensors, seeded_generator
from learned_optimizers.tasks.task import uniform
from learned_optimizers.theta import Theta

LEAST_LENGTH = 1e-12  # that something is divided by


@dataclass(frozen=True)
class BackpropagationRecipe:
    """What a step learns from. trainings: of a step.  tasks: of a bucket, from 0 up.  horizon: steps of a training.

    cap: largest loss that counts, where 1 is that of the start.  penalty: times the norm of theta, is added.
    least_horizon: of shorter trainings, whose length is log-uniform up to the horizon; None for the horizon alone.
    late, logarithmic: how losses count, as of `weights_of_steps` and `normalised`.
    """

    seed: int
    task_seed: int
    trainings: int
    tasks: int
    horizon: int
    cap: float
    penalty: float
    least_horizon: int | None = None
    late: float = 0.0
    logarithmic: bool = False

    def length(self, step: int) -> int:
        """Steps of the trainings of an outer step."""
        if self.least_horizon is None:
            return self.horizon
        low, high = math.log(self.least_horizon), math.log(self.horizon)
        return round(math.exp(uniform(low, high, seeded_generator(self.seed, "length", step))))

    def losses(self, curve: Tensor) -> Tensor:
        """Return what a mean over steps says of each training: [steps, trainings] -> [trainings].

        Losses are over that of the start, which the optimizer has no part in; of their logarithms, LEAST_SHARE of the
        start is 0.
        """
        start = curve[0].detach()
        scale = torch.stack([start, torch.zeros_like(start)], -1)
        values = normalised(curve, scale, self.cap, logarithmic=self.logarithmic)
        weights = weights_of_steps(0, len(curve), len(curve), self.late)
        return (weights[:, None] * values).mean(0)


class BackpropagationTraining:
    """Theta and Adam, which takes the derivative of a mean over trainings, all of whose steps it looks through.

    The outer loss is the mean over steps of min(f_t / f_0, cap), f the loss that the optimizer itself descends, or what
    the recipe makes of it. Buckets take turns. Everything random is drawn from the recipe's seed and the number of the
    step.
    """

    def __init__(
        self,
        theta: Theta,
        recipe: BackpropagationRecipe,
        buckets: Sequence[Bucket],
        *,
        learning_rate: float,
        epsilon: float,
        clip: float,
    ) -> None:
        self._start = theta.detached()
        self._vector = theta.vector().detach().clone().requires_grad_()
        self.recipe, self.buckets, self.clip = recipe, tuple(buckets), clip
        self.optimizer = torch.optim.Adam([self._vector], lr=learning_rate, eps=epsilon)
        self.steps = 0

    @property
    def theta(self) -> Theta:
        """Return theta as it is now."""
        return self._start.with_vector(self._vector.detach().clone())

    def step(self, mapper: EstimateMapper = map) -> dict[str, float]:
        """Make one outer step, in this process; return mean loss, gradient norm, and what of it is clipped or dropped.

        Each training's gradient is shortened to the clip by itself: where steps are too large, a few trainings have
        gradients of any size and direction, and the others still say where to go. One that is not finite counts as 0.
        """
        recipe = self.recipe
        vectors = self._vector.detach().expand(recipe.trainings, -1).clone().requires_grad_()
        length_of_training = recipe.length(self.steps)
        losses = recipe.losses(loss_curve(self._start, vectors, self._draw(), length_of_training))
        (gradients,) = torch.autograd.grad(losses.sum(), vectors)
        is_finite = gradients.isfinite().all(1, keepdim=True)
        gradients = torch.where(is_finite, gradients, 0)
        norms = gradients.norm(dim=1, keepdim=True)
        gradient = (gradients * (self.clip / norms.clamp(min=self.clip))).mean(0)
        length = self._vector.detach().norm()
        self._vector.grad = gradient + recipe.penalty * self._vector.detach() / length.clamp(min=LEAST_LENGTH)
        self.optimizer.step()
        self.steps += 1
        return {
            "loss": losses.mean().item(),
            "gradient_norm": gradient.norm().item(),
            "clipped": (norms > self.clip).float().mean().item(),
            "not_finite": 1 - is_finite.float().mean().item(),
            "length": length_of_training,
        }

    def state(self) -> dict[str, Any]:
        """Collect all that the next steps depend on, for a checkpoint."""
        return {
            "steps": self.steps,
            "vector": self._vector.detach().clone(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.steps = state["steps"]
        with torch.no_grad():
            self._vector.copy_(state["vector"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _draw(self) -> Draw:
        recipe, bucket = self.recipe, self.buckets[self.steps % len(self.buckets)]
        generator = seeded_generator(recipe.seed, "backpropagation", self.steps)
        indices = torch.randint(recipe.tasks, (recipe.trainings,), generator=generator).tolist()
        tasks = [bucket.task(recipe.task_seed, index) for index in indices]
        return Draw(tasks, [(recipe.seed, "training", self.steps, lane) for lane in range(recipe.trainings)])


def loss_curve(theta: Theta, vectors: Tensor, draw: Draw, steps: int) -> Tensor:
    """Training losses before each step of whole trainings, each by its own vector: [steps, trainings].

    vectors: values for theta's architecture, [trainings, n], in which the losses are differentiable.
    """
    rule: UpdateRule = architecture(theta.architecture)
    params, constants, samples = draw.initial(), draw.constants(), draw.samples("train", 1, 0, steps)
    tensors = vmap(lambda vector: theta.with_vector(vector).tensors)(vectors)
    state = vmap(rule.initial_state)(tensors, list(params))
    one_step = vmap(partial(_inner_step, rule, draw.tasks[0]))
    losses = []
    for index in range(steps):
        batch = tuple(tensor[index] for tensor in samples)
        params, state, loss = one_step(tensors, state, params, constants, batch)
        losses.append(loss)
    return torch.stack(losses)


def _inner_step(
    rule: UpdateRule,
    task: Task,
    tensors: Mapping[str, Tensor],
    state: Any,
    params: TaskTensors,
    constants: TaskTensors,
    samples: TaskTensors,
) -> tuple[TaskTensors, Any, Tensor]:
    gradients, loss = grad_and_value(task.loss)(params, constants, samples)
    moved, state = rule.update(tensors, state, params, gradients, loss=loss, valid_loss=None)
    return tuple(moved), state, loss
