"""Outer training by backpropagation through whole trainings, as of the optimizers of arXiv 2011.02159."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from learned_optimizers.architectures.registry import architecture
from learned_optimizers.meta_training.baselines import UpdateRule
from learned_optimizers.meta_training.outer import EstimateMapper
from learned_optimizers.meta_training.unroll import Draw
from learned_optimizers.tasks import Bucket, Task, TaskTensors, seeded_generator
from learned_optimizers.theta import Theta

LEAST_LOSS = 1e-12  # of a start, beside which others are set


@dataclass(frozen=True)
class BackpropagationRecipe:
    """What a step learns from. trainings: of a step.  tasks: of a bucket, from 0 up.  horizon: steps of a training.

    cap: largest loss that counts, where 1 is that of the start.  penalty: times the norm of theta, is added.
    """

    seed: int
    task_seed: int
    trainings: int
    tasks: int
    horizon: int
    cap: float
    penalty: float


class BackpropagationTraining:
    """Theta and Adam, which takes the derivative of a mean over trainings, all of whose steps it looks through.

    The outer loss is the mean over steps of min(f_t / f_0, cap), f the loss that the optimizer itself descends.
    Buckets take turns. Everything random is drawn from the recipe's seed and the number of the step.
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
        self._start = theta
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

        A gradient that is not finite moves nothing.
        """
        recipe = self.recipe
        curve = loss_curve(self._start.with_vector(self._vector), self._draw(), recipe.horizon)
        relative = (curve / curve[:1].detach().clamp(min=LEAST_LOSS)).clamp(max=recipe.cap)
        loss = relative.mean()
        (gradient,) = torch.autograd.grad(loss + recipe.penalty * self._vector.norm(), self._vector)
        is_finite = bool(gradient.isfinite().all())
        if is_finite:
            self._vector.grad = gradient.clamp(-self.clip, self.clip)
            self.optimizer.step()
        self.steps += 1
        return {
            "loss": loss.item(),
            "gradient_norm": gradient.norm().item() if is_finite else 0.0,
            "clipped": (gradient.abs() > self.clip).float().mean().item(),
            "not_finite": float(not is_finite),
            "length": recipe.horizon,
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


def loss_curve(theta: Theta, draw: Draw, steps: int) -> Tensor:
    """Training losses before each step of whole trainings by theta: [steps, trainings], differentiable in theta."""
    rule: UpdateRule = architecture(theta.architecture)
    params, constants, samples = draw.initial(), draw.constants(), draw.samples("train", 1, 0, steps)
    state = vmap(partial(rule.initial_state, theta.tensors))(list(params))
    one_step = vmap(partial(_inner_step, rule, theta, draw.tasks[0]))
    losses = []
    for index in range(steps):
        params, state, loss = one_step(state, params, constants, tuple(tensor[index] for tensor in samples))
        losses.append(loss)
    return torch.stack(losses)


def _inner_step(
    rule: UpdateRule,
    theta: Theta,
    task: Task,
    state: Any,
    params: TaskTensors,
    constants: TaskTensors,
    samples: TaskTensors,
) -> tuple[TaskTensors, Any, Tensor]:
    gradients, loss = grad_and_value(task.loss)(params, constants, samples)
    moved, state = rule.update(theta.tensors, state, params, gradients, loss=loss, valid_loss=None)
    return tuple(moved), state, loss
