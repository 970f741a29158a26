"""Imitation: theta learns a teacher's steps by regression, so that outer training begins from a good optimizer.

The teacher trains tasks; single steps of it are recorded with the state that theta's optimizer would have there. Theta
is then fitted to them by Adam: supervised learning, which costs a thousandth of what outer training costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils import _pytree as pytree

from learned_optimizers.architectures.base import Architecture
from learned_optimizers.architectures.features import TIMESCALES
from learned_optimizers.architectures.registry import architecture
from learned_optimizers.meta_training.baselines import RATE, UpdateRule
from learned_optimizers.meta_training.normalisation import normalised, rate_curves, weights_of_steps
from learned_optimizers.meta_training.teachers import TEACHER_RATES, falling_share, teacher
from learned_optimizers.meta_training.unroll import Draw, same_in_all, unroll
from learned_optimizers.tasks import Bucket, TaskTensors, seeded_generator
from learned_optimizers.theta import Theta

LONGEST_GAP = 9  # steps from one that is recorded to the next, at most
BUCKETS_A_STEP = 4  # whose records make one step of the fit
RECORDS_A_BUCKET = 8
LATE = 0.25  # part of the records that are moved beyond the horizon
NO_STEP = 1e-12  # of a teacher's squared step, where nothing moves


class Steps(NamedTuple):
    """Recorded steps, tensors [records, ...]. state: of the student before them.  moved: parameters after them."""

    state: Any
    params: TaskTensors
    gradients: TaskTensors
    loss: Tensor | None
    moved: TaskTensors

    def some(self, chosen: Tensor) -> Steps:
        """Those of these indices."""
        found: Steps = pytree.tree_map(lambda tensor: tensor[chosen], self)
        return found

    def later(self, late: Tensor, horizon: int, generator: torch.Generator) -> Steps:
        """Those of `late` [records] at times beyond the horizon, as if the same had been met there."""
        step = self.state["shared"]["step"]
        span = TIMESCALES[-1].to(step) / horizon
        drawn = horizon * span ** torch.rand(step.shape, generator=generator)
        moved_to = torch.where(late & (span > 1), drawn, step)
        factor = falling_share(moved_to, horizon) / falling_share(step, horizon)
        moved = tuple(
            torch.where(_beside(late, p), p + _beside(factor, p) * (m - p), m)
            for p, m in zip(self.params, self.moved, strict=True)
        )
        shared = {**self.state["shared"], "step": moved_to}
        return self._replace(state={**self.state, "shared": shared}, moved=moved)


@dataclass(frozen=True)
class _Followed:
    """The teacher moves the parameters; the student's state goes along, and the last step is kept. An `UpdateRule`."""

    student: Architecture
    teacher: UpdateRule

    def initial_state(self, tensors: Mapping[str, Tensor], params: Sequence[Tensor]) -> Any:
        rules = {"student": self.student, "teacher": self.teacher}
        return {name: rule.initial_state(tensors, params) for name, rule in rules.items()}

    def update(
        self,
        tensors: Mapping[str, Tensor],
        state: Any,
        params: Sequence[Tensor],
        gradients: Sequence[Tensor],
        *,
        loss: Tensor | None = None,
        valid_loss: Tensor | None = None,
    ) -> tuple[Sequence[Tensor], Any]:
        rules = {"student": self.student, "teacher": self.teacher}
        found = {
            name: rule.update(tensors, state[name], params, gradients, loss=loss, valid_loss=valid_loss)
            for name, rule in rules.items()
        }
        moved = found["teacher"][0]
        last = Steps(self._shown(state["student"], valid_loss), tuple(params), tuple(gradients), loss, tuple(moved))
        return moved, {name: after for name, (_, after) in found.items()} | {"last": last}

    def _shown(self, state: Any, valid_loss: Tensor | None) -> Any:
        """Return the student's state as its step meets it: after its look at a validation loss, where there is one."""
        if valid_loss is None:
            return state
        return state | {"shared": self.student.observe_validation(state["shared"], valid_loss)}


@dataclass(frozen=True)
class Trial:
    """Tasks of a bucket on which a teacher's rates are tried. scale: [tasks, 2], from `Scaling`."""

    teacher: str
    bucket: Bucket
    indices: tuple[int, ...]
    task_seed: int
    steps: int
    cap: float
    late: float
    scale: Tensor

    def __call__(self) -> Tensor:
        """Normalised losses on outer validation data, mean over a training with `late` weights: [rates, tasks]."""
        tasks = [self.bucket.task(self.task_seed, index) for index in self.indices]
        rule = teacher(self.teacher, self.steps)
        curves = rate_curves(rule, TEACHER_RATES, tasks, self.steps, seed=self.task_seed, split="outer_validation")
        losses = normalised(curves, self.scale, self.cap)
        return (losses * weights_of_steps(0, self.steps, self.steps, self.late)[:, None, None]).mean(0)


@dataclass(frozen=True)
class Recording:
    """Trainings of a bucket by a teacher, of which single steps are wanted."""

    theta: Theta
    teacher: str
    rate: float
    bucket: Bucket
    indices: tuple[int, ...]
    task_seed: int
    steps: int

    @torch.no_grad()
    def __call__(self) -> Steps:
        """The first step, and one of each few that follow, of all trainings."""
        tasks = [self.bucket.task(self.task_seed, index) for index in self.indices]
        rule = _Followed(architecture(self.theta.architecture), teacher(self.teacher, self.steps))
        tensors = same_in_all({**self.theta.tensors, RATE: torch.tensor(self.rate)}, len(tasks))
        draw = Draw.of_trainings(tasks, seed=self.task_seed, split="outer_validation")
        lanes, kept = draw.start(rule, tensors), []
        for gap in self._gaps():
            _, lanes = unroll(rule, tensors, tasks[0], lanes, draw.batches(lanes.step, gap))
            kept.append(lanes.state["last"])
        found: Steps = pytree.tree_map(lambda *parts: torch.cat(parts), *kept)
        return found

    def _gaps(self) -> list[int]:
        generator = seeded_generator(self.task_seed, *self.bucket, "recorded")
        drawn = torch.randint(1, LONGEST_GAP + 1, (self.steps,), generator=generator).tolist()
        return [1, *(gap for gap, at in zip(drawn, accumulate(drawn), strict=True) if at < self.steps)]


def relative_errors(theta: Theta, steps: Steps) -> Tensor:
    """Squared distance of theta's steps to the teacher's over the teacher's own size, mean over tensors: [records]."""
    return vmap(partial(_relative_error, theta))(steps)


def _relative_error(theta: Theta, steps: Steps) -> Tensor:
    rule = architecture(theta.architecture)
    ours, _ = rule.update(theta.tensors, steps.state, steps.params, steps.gradients, loss=steps.loss)
    errors = [
        (our - moved).square().sum() / ((param - moved).square().sum() + NO_STEP)
        for our, moved, param in zip(ours, steps.moved, steps.params, strict=True)
    ]
    return torch.stack(errors).mean()


def imitated(
    theta: Theta,
    recorded: Sequence[Steps],
    *,
    steps: int,
    learning_rate: float,
    horizon: int,
    generator: torch.Generator,
    report: Callable[[float], object] = lambda error: None,
) -> Theta:
    """Theta after a fit to recorded steps, one `Steps` a bucket, by Adam at a rate that falls along half a cosine.

    A part of the records is moved beyond the horizon, so that theta knows the times that follow a training as long as
    the teacher's.  report: called after each step with the root of the mean squared relative error.
    """
    vector = theta.vector().detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([vector], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        now = theta.with_vector(vector)
        buckets = torch.randperm(len(recorded), generator=generator)[:BUCKETS_A_STEP]
        samples = [_sample(recorded[index], horizon, generator) for index in buckets.tolist()]
        error = torch.cat([relative_errors(now, sample) for sample in samples]).mean()
        (vector.grad,) = torch.autograd.grad(error, vector)
        optimizer.step()
        schedule.step()
        report(error.item() ** 0.5)
    return theta.with_vector(vector.detach())


def _sample(steps: Steps, horizon: int, generator: torch.Generator) -> Steps:
    chosen = torch.randint(len(steps.params[0]), (RECORDS_A_BUCKET,), generator=generator)
    late = torch.rand(RECORDS_A_BUCKET, generator=generator) < LATE
    return steps.some(chosen).later(late, horizon, generator)


def _beside(column: Tensor, like: Tensor) -> Tensor:
    """[records] -> [records, 1, ...]."""
    return column.view(-1, *[1] * (like.ndim - 1))
