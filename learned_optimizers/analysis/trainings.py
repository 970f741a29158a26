"""Whole trainings by an optimizer, with the states and gradients that it meets."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from learned_optimizers.analysis.step_function import StepFunction
from learned_optimizers.meta_training.unroll import Draw
from learned_optimizers.optimizer import LearnedOptimizer
from learned_optimizers.tasks import Bucket, Task, buckets
from learned_optimizers.training_watch import BeyondTrainingWarning

DIVERGED = 1e6  # times the first loss
MOST_ELEMENTS = 24  # of a training, whose states are kept


@dataclass(frozen=True)
class Visited:
    """What trainings went through. n: elements that are kept, of all trainings.

    states: before each step, [steps, n, rows].  gradients: [steps, n].  losses: before each step, [steps, trainings].
    """

    states: Tensor
    gradients: Tensor
    losses: Tensor

    @property
    def size(self) -> float:
        """Return the root mean square of the gradients met."""
        return max(self.gradients.square().mean().sqrt().item(), torch.finfo(torch.float64).tiny)

    @property
    def scale(self) -> Tensor:
        """Return the root mean square of each row of the states, [rows]."""
        return self.states.square().mean((0, 1)).sqrt()

    @property
    def relative_loss(self) -> float:
        """Return the mean of f_t / f_0 over steps and trainings."""
        return (self.losses / self.losses[:1]).mean().item()


def sample_tasks(family: str, *, count: int, seed: int) -> list[Task]:
    """Tasks of one shape of a family."""
    bucket: Bucket = buckets([family])[0]
    return [bucket.task(seed, index) for index in range(count)]


def train(function: StepFunction, tasks: Sequence[Task], steps: int, *, seed: int) -> Visited:
    """Train each task from its own start, by the optimizer itself, in float64.

    Raises ValueError where a loss is not finite or above a million times the first, and where nothing moves.
    """
    try:
        found = [_training(function, task, steps, seed) for task in tasks]
    except FloatingPointError as error:  # of a learned optimizer, whose gradients are not finite
        raise ValueError(f"{function.name} diverges on {tasks[0].configuration.family}: {error}") from error
    states, gradients, losses = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    return Visited(states, gradients, losses)


def _training(function: StepFunction, task: Task, steps: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return states [steps, n, rows], gradients [steps, n] and losses [steps, 1]."""
    configuration = task.configuration
    draw = Draw.of_trainings([task], seed=seed, split="train")
    params = [tensor[0].double().requires_grad_() for tensor in draw.initial()]
    constants = tuple(map(_double, task.constants))
    samples = [_double(tensor[:, 0]) for tensor in draw.samples("train", 1, 0, steps)]
    optimizer = function.make(params)
    kept = _kept(sum(param.numel() for param in params))
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for step in range(steps):
        states = function.read(optimizer, params)[kept] if step else function.initial().expand(len(kept), -1)
        optimizer.zero_grad()
        loss = task.loss(params, constants, tuple(tensor[step] for tensor in samples))
        first = rows[0][2].item() if rows else loss.item()
        if not loss.isfinite() or loss.item() > DIVERGED * abs(first):
            raise ValueError(
                f"{function.name} diverges on {configuration.family}: after {step} steps the loss is "
                f"{loss.item():.4g}, {first:.4g} at first; expected one that trains it, at a lower rate perhaps"
            )
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = torch.cat([_gradient(param).reshape(-1) for param in params])[kept]
        rows.append((states.clone(), gradients, loss.detach()[None]))
        _step(optimizer, loss.detach())
    if all(torch.equal(param.detach(), first[0].double()) for param, first in zip(params, draw.initial(), strict=True)):
        raise ValueError(f"{function.name} moves nothing in {steps} steps; expected an optimizer that does something")
    found = tuple(torch.stack(column) for column in zip(*rows, strict=True))
    return found[0], found[1], found[2]


def _kept(elements: int) -> Tensor:
    """Choose at most MOST_ELEMENTS, evenly."""
    count = min(elements, MOST_ELEMENTS)
    return torch.arange(count) * elements // count


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def _gradient(param: Tensor) -> Tensor:
    return torch.zeros_like(param) if param.grad is None else param.grad


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    if isinstance(optimizer, LearnedOptimizer):
        with warnings.catch_warnings():  # that it meets what it was not trained for is what may be looked at
            warnings.simplefilter("ignore", BeyondTrainingWarning)
            optimizer.step(loss=loss)
    else:
        optimizer.step()
