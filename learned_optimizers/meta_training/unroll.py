"""Inner training of many tasks at once: every lane is a task, a start and an optimizer of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from learned_optimizers.meta_training.baselines import UpdateRule
from learned_optimizers.tasks import Task, TaskSplit, TaskTensors, seeded_generator

VALID_EVERY = 10  # inner steps from one look at the inner validation loss to the next
MOST_STEPS = 50  # whose batches are in memory at once


@dataclass(frozen=True)
class UnrollState:
    """Where inner training is. params: each [lanes, ...].  state: the optimizers', tensors [lanes, ...] in containers.

    step: inner steps so far, the same in all lanes.
    """

    params: TaskTensors
    state: Any
    step: int


@dataclass(frozen=True)
class Batches:
    """What a truncation of inner training sees. constants: [lanes, ...]; the others [steps, lanes, size, ...]."""

    steps: int
    constants: TaskTensors
    train: TaskTensors
    valid: TaskTensors
    outer: TaskTensors


@dataclass(frozen=True)
class Draw:
    """Which random numbers the lanes get. seeds: one list a lane of what tells it from others.

    copies: lanes that see the same, one after the other as [a, b, a, b]: antithetic members, or learning rates.
    outer: batches of outer data in each step, each of the task's size.
    """

    tasks: Sequence[Task]
    seeds: Sequence[tuple[int | str, ...]]
    copies: int = 1
    outer: int = 5
    split: TaskSplit = "outer_validation"

    @classmethod
    def of_trainings(cls, tasks: Sequence[Task], *, seed: int, split: TaskSplit, copies: int = 1) -> Self:
        """For whole trainings that different optimizers are compared on."""
        seeds = [(seed, "training", task.configuration.family, task.configuration.index) for task in tasks]
        return cls(tasks, seeds, copies, split=split)

    def start(self, rule: UpdateRule, theta: Mapping[str, Tensor]) -> UnrollState:
        """Return initial parameters and optimizers. theta: each [lanes, ...]."""
        params = self.initial()
        return UnrollState(params, vmap(rule.initial_state)(theta, list(params)), 0)

    def initial(self) -> TaskTensors:
        """Return initial parameters, each [lanes, ...]."""
        drawn = [
            task.initial(seeded_generator(*seed, "initial")) for task, seed in zip(self.tasks, self.seeds, strict=True)
        ]
        return tuple(self._repeated(torch.stack(tensors), 0) for tensors in zip(*drawn, strict=True))

    def batches(self, first: int, steps: int) -> Batches:
        """Batches of the steps from `first` on. A lane's batches depend on where they begin, not on other lanes."""
        parts = [
            self.samples("train", 1, first, steps),
            self.samples("inner_validation", 1, first, steps),
            self.samples(self.split, self.outer, first, steps),
        ]
        return Batches(steps, self.constants(), *parts)

    def constants(self) -> TaskTensors:
        """Return the tensors of the losses that all batches share, each [lanes, ...]."""
        columns = zip(*(task.constants for task in self.tasks), strict=True)
        return tuple(self._repeated(torch.stack(column), 0) for column in columns)

    def samples(self, split: TaskSplit, count: int, first: int, steps: int) -> TaskTensors:
        """Batches of a split for the steps from `first` on, `count` times a task's size: [steps, lanes, size, ...]."""
        drawn = [
            task.samples(split, steps, count * task.batch_size, seeded_generator(*seed, split, first))
            for task, seed in zip(self.tasks, self.seeds, strict=True)
        ]
        return tuple(self._repeated(torch.stack(column, 1), 1) for column in zip(*drawn, strict=True))

    def _repeated(self, tensor: Tensor, lanes: int) -> Tensor:
        return torch.cat([tensor] * self.copies, lanes)


def unroll(
    rule: UpdateRule, theta: Mapping[str, Tensor], task: Task, lanes: UnrollState, batches: Batches
) -> tuple[Tensor, UnrollState]:
    """Inner steps, one a batch: outer losses after each, [steps, lanes], and where the lanes are then.

    theta: each [lanes, ...].  task: any of the lanes' bucket.  Differentiable in theta; lanes do not influence one
    another, so that the gradient of a sum over lanes holds each lane's own.
    """
    losses = []
    for index in range(batches.steps):
        one_step = vmap(partial(_inner_step, rule, task, lanes.step % VALID_EVERY == 0))
        at = [tuple(tensor[index] for tensor in part) for part in (batches.train, batches.valid, batches.outer)]
        params, state, loss = one_step(theta, lanes.state, lanes.params, batches.constants, *at)
        lanes = UnrollState(tuple(params), state, lanes.step + 1)
        losses.append(loss)
    return torch.stack(losses), lanes


def _inner_step(
    rule: UpdateRule,
    task: Task,
    look: bool,
    theta: Mapping[str, Tensor],
    state: Any,
    params: TaskTensors,
    constants: TaskTensors,
    train: TaskTensors,
    valid: TaskTensors,
    outer: TaskTensors,
) -> tuple[TaskTensors, Any, Tensor]:
    """Make one lane's step. look: whether the optimizer is shown the inner validation loss."""
    gradients, loss = grad_and_value(task.loss)(params, constants, train)
    valid_loss = task.loss(params, constants, valid) if look else None
    moved, state = rule.update(theta, state, params, gradients, loss=loss, valid_loss=valid_loss)
    return tuple(moved), state, task.loss(moved, constants, outer)


@torch.no_grad()
def curves(rule: UpdateRule, theta: Mapping[str, Tensor], draw: Draw, steps: int) -> Tensor:
    """Outer losses of whole trainings from the start on: [steps, lanes]."""
    lanes, found = draw.start(rule, theta), []
    for first in range(0, steps, MOST_STEPS):
        losses, lanes = unroll(rule, theta, draw.tasks[0], lanes, draw.batches(first, min(MOST_STEPS, steps - first)))
        found.append(losses)
    return torch.cat(found)


def same_in_all(theta: Mapping[str, Tensor], lanes: int) -> dict[str, Tensor]:
    """Repeat one theta in all lanes: each tensor [...] as [lanes, ...], without a copy."""
    return {name: tensor.expand(lanes, *tensor.shape) for name, tensor in theta.items()}
