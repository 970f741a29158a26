"""All that is looked at of one optimizer on one family of tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from learned_optimizers.analysis.linearisation import Mode, heavy_ball_optimum
from learned_optimizers.analysis.mechanisms import (
    Adaptation,
    Clipping,
    Momentum,
    Schedule,
    adaptation,
    clipping,
    momentum,
    schedule,
)
from learned_optimizers.analysis.step_function import Moment, StepFunction
from learned_optimizers.analysis.trainings import Visited, train
from learned_optimizers.meta_training.baselines import Elementwise
from learned_optimizers.meta_training.normalisation import rate_curves
from learned_optimizers.tasks import Task

SGD_RATES = tuple(10 ** (power / 4) for power in range(-16, 5))
SHOWN_ELEMENTS = 8  # whose trajectories are drawn
MOMENTS = (0.0, 0.1, 0.4, 1.0)  # of a training at which the update is traced


@dataclass(frozen=True)
class PrincipalStates:
    """The states met, on the two directions in which they vary most.

    shares: of the variance, [2].  trajectories: of some elements, [elements, steps, 2].  settled: the fixed point, [2].
    """

    shares: Tensor
    trajectories: Tensor
    settled: Tensor


@dataclass(frozen=True)
class UpdateAt:
    """Update against gradient at a moment of a training, for the state of one element. gradients, updates: [points]."""

    step: int
    gradients: Tensor
    updates: Tensor


@dataclass(frozen=True)
class Analysis:
    """What an optimizer does. moment: at which the fixed point is, in the middle of a training.

    optimum: of the heavy ball, where the tasks have a known spectrum.  sgd: best rate, and its mean f_t / f_0.
    """

    visited: Visited
    moment: Moment
    momentum: Momentum
    clipping: Clipping
    schedule: Schedule
    adaptation: Adaptation
    principal: PrincipalStates | None
    updates: tuple[UpdateAt, ...]
    optimum: Mode | None
    sgd: tuple[float, float]


Report = Callable[[str], object]


def analyse(
    function: StepFunction,
    tasks: Sequence[Task],
    *,
    steps: int,
    seed: int = 0,
    report: Report = lambda part: None,
) -> Analysis:
    """Train the tasks, and take apart what the optimizer does about the states that it meets.

    tasks: of one shape.  report: called after each of 7 parts.  Raises ValueError where a task diverges.
    """
    visited = train(function, tasks, steps, seed=seed)
    report("trainings")
    moment = Moment(max(1, steps // 2), visited.size)
    found = momentum(function, visited, moment)
    report("momentum")
    clipped = clipping(function, visited, found.state, moment)
    report("clipping")
    rates = schedule(function, visited, steps)
    report("schedule")
    adapted = adaptation(function, visited, moment.step)
    report("adaptation")
    principal, updates = principal_states(visited, found.state), updates_at(function, visited)
    report("states")
    best = best_sgd(tasks, steps, seed=seed)
    report("best rate of SGD")
    spectrum = tasks[0].spectrum
    optimum = None if spectrum is None else heavy_ball_optimum(*spectrum)
    return Analysis(visited, moment, found, clipped, rates, adapted, principal, updates, optimum, best)


def principal_states(visited: Visited, settled: Tensor) -> PrincipalStates | None:
    """Find the two main directions of the states met; None where a state has fewer numbers than two."""
    states = visited.states
    if states.shape[-1] < 2:
        return None
    flat = states.flatten(0, 1)
    centre = flat.mean(0)
    _, sizes, directions = torch.linalg.svd(flat - centre, full_matrices=False)
    shares = sizes.square() / sizes.square().sum().clamp(min=torch.finfo(sizes.dtype).tiny)
    chosen = torch.linspace(0, states.shape[1] - 1, min(SHOWN_ELEMENTS, states.shape[1])).long()
    shown = states[:, chosen]
    return PrincipalStates(
        shares[:2], ((shown - centre) @ directions[:2].T).transpose(0, 1), (settled - centre) @ directions[:2].T
    )


def updates_at(function: StepFunction, visited: Visited) -> tuple[UpdateAt, ...]:
    """Trace the update of the element whose gradients are largest, at several moments."""
    element = int(visited.gradients.square().mean(0).argmax())
    most = 2 * visited.gradients[:, element].abs().max().item()
    gradients = torch.linspace(-most, most, 81, dtype=torch.float64)
    found = []
    for step in dict.fromkeys(round(part * (len(visited.states) - 1)) for part in MOMENTS):
        states = visited.states[step, element].expand(len(gradients), -1)
        found.append(UpdateAt(step, gradients, function(states, gradients, Moment(step, visited.size))[1]))
    return tuple(found)


def best_sgd(tasks: Sequence[Task], steps: int, *, seed: int) -> tuple[float, float]:
    """Rate of plain SGD with the lowest mean f_t / f_0 from the same starts, and that mean, in float32."""
    rates = (0.0, *SGD_RATES)  # the first stays at the start
    losses = rate_curves(PLAIN_SGD, rates, tasks, steps, seed=seed, split="train")
    relative = torch.cat([losses[:1, :1].expand(1, len(rates), -1), losses[:-1]]) / losses[:, :1]
    means = relative.nan_to_num(torch.inf).mean((0, 2))
    best = int(means.argmin())
    return rates[best], means[best].item()


def _gradient(gradient: Tensor, step: Tensor, moments: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    return gradient, moments


PLAIN_SGD = Elementwise(_gradient, moments=0)
