"""Losses of different tasks on one scale: 1 is where training starts, 0 the best that a swept Adam reaches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import vmap

from learned_optimizers.meta_training.baselines import BASELINES, RATE, UpdateRule
from learned_optimizers.meta_training.unroll import Draw, curves
from learned_optimizers.tasks import Task, TaskSplit

ADAM_RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
WINDOW = 10  # steps whose mean is a loss that was reached
LEAST_SHARE = 1e-3  # of the initial loss, beside losses whose logarithms are taken
LEAST_SPAN = 0.05  # of the initial loss: where Adam learns nothing, a small gain does not count for much


def rate_curves(
    rule: UpdateRule, rates: Sequence[float], tasks: Sequence[Task], steps: int, *, seed: int, split: TaskSplit
) -> Tensor:
    """Losses of a hand-designed optimizer at each rate: [steps, rates, tasks]. tasks: of one bucket."""
    theta = {RATE: torch.tensor(rates).repeat_interleave(len(tasks))}
    draw = Draw.of_trainings(tasks, seed=seed, split=split, copies=len(rates))
    found = curves(rule, theta, draw, steps)
    return found.reshape(steps, len(rates), len(tasks))


def scales(tasks: Sequence[Task], steps: int, *, seed: int, split: TaskSplit = "outer_validation") -> Tensor:
    """Loss at the start and the best loss of a training by Adam at any of RATES: [tasks, 2]. tasks: of one bucket."""
    found = rate_curves(BASELINES["adam"], ADAM_RATES, tasks, steps, seed=seed, split=split)
    initial = found[0, 0]  # after one step of the smallest rate
    return torch.stack([initial, torch.minimum(best_reached(found).amin(0), initial)], -1)


def start_scales(tasks: Sequence[Task], *, seed: int, split: TaskSplit = "outer_validation") -> Tensor:
    """Loss at the start of a training, and 0: [tasks, 2]. tasks: of one bucket. No optimizer is needed to measure it.

    A loss that is normalised by these is the loss over that at the start.
    """
    draw = Draw.of_trainings(tasks, seed=seed, split=split)
    batches = draw.batches(0, 1)
    outer = tuple(tensor[0] for tensor in batches.outer)
    initial = vmap(tasks[0].loss)(draw.initial(), batches.constants, outer)
    return torch.stack([initial, torch.zeros_like(initial)], -1)


def best_reached(losses: Tensor) -> Tensor:
    """Lowest mean over WINDOW steps of curves [steps, ...], of those whose losses are all finite."""
    windows = losses.nan_to_num(torch.inf).unfold(0, min(WINDOW, len(losses)), 1)
    return windows.mean(-1).amin(0)


def normalised(losses: Tensor, scale: Tensor, cap: float, *, logarithmic: bool = False) -> Tensor:
    """min((loss - best) / (initial - best), cap); cap where it is not finite.

    losses: [..., lanes].  scale: [lanes, 2], initial and best.  logarithmic: of the logarithms of losses, each plus
    LEAST_SHARE of the initial one, so that half of a low loss is worth as much as half of a high one.
    """
    if logarithmic:
        least = LEAST_SHARE * scale[:, 0].abs()
        losses, scale = torch.log(losses.clamp(min=0) + least), torch.log(scale.clamp(min=0) + least[:, None])
    initial, best = scale.unbind(-1)
    least_span = torch.full_like(initial, LEAST_SPAN) if logarithmic else LEAST_SPAN * initial.abs()
    span = torch.maximum(initial - best, least_span).clamp(min=torch.finfo(losses.dtype).tiny)
    return ((losses - best) / span).nan_to_num(cap, posinf=cap).clamp(max=cap)


def weights_of_steps(first: int, steps: int, horizon: int, late: float) -> Tensor:
    """Weights of the losses after the steps from `first` on, [steps]; their mean over a training of `horizon` is 1.

    late: 0 for all alike, 1 for weights in proportion to the time.
    """
    times = (torch.arange(first, first + steps) + 0.5) / horizon
    return 1 - late + late * 2 * times
