"""Which optimizers are compared, at which rates, and how one of them trains a task."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, AdamW, Optimizer

from generalisation_tasks.data import Examples
from generalisation_tasks.task import BenchmarkTask
from learned_optimizers import BeyondTrainingWarning, LearnedOptimizer, load_theta
from learned_optimizers.training_watch import EARLY_STEPS

WINDOW = 20  # steps whose mean is a loss
POINTS = 200  # of a curve that is kept
STATISTICS_BATCHES = 20  # from which BatchNorm's statistics are taken anew before what is held out is judged
ADAMW, SGDM, FREE = "AdamW", "SGD with momentum", "Schedule-Free AdamW"
ADAMW_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SGD_RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
Weights = Sequence[nn.Parameter]


@dataclass(frozen=True)
class Contestant:
    """An optimizer. rates: that are tried; None is its own.  identity: tells other meta-parameters apart."""

    name: str
    rates: tuple[float | None, ...]
    make: Callable[[Weights, float | None], Optimizer]
    identity: str = ""


def learned(reference: str) -> Contestant:
    """A learned optimizer: a file of meta-parameters or a shipped name, as it is."""
    theta = load_theta(reference)
    name = f"learned: {Path(reference).stem if Path(reference).suffix else reference}"
    return Contestant(name, (None,), lambda weights, _: LearnedOptimizer(weights, theta), theta.fingerprint[:12])


def schedule_free() -> Contestant | None:
    """Schedule-Free AdamW at its own rate (Defazio et al. 2024); None where the package is not installed."""
    if find_spec("schedulefree") is None:
        return None
    from schedulefree import AdamWScheduleFree

    return Contestant(FREE, (None,), lambda weights, _: AdamWScheduleFree(weights, foreach=False))


def contestants(thetas: Sequence[str]) -> list[Contestant]:
    """The learned ones, and those that people designed."""
    designed = [
        Contestant(ADAMW, ADAMW_RATES, lambda weights, rate: AdamW(weights, lr=rate or 1e-3)),
        schedule_free(),
        Contestant(SGDM, SGD_RATES, lambda weights, rate: SGD(weights, lr=rate or 1e-2, momentum=0.9)),
    ]
    return [*map(learned, thetas), *(one for one in designed if one is not None)]


@dataclass(frozen=True)
class Outcome:
    """What came out of one training.

    first: loss of the first batch.  highest: of the first 20 losses.  final: mean of the last 20.  held_out: loss on
    the held-out examples.  curve: means of 20 losses, at the steps `curve_steps` says.  seconds: of a step.
    Infinite where a loss was not finite.
    """

    first: float
    highest: float
    final: float
    held_out: float
    curve: tuple[float, ...]
    seconds: float


def curve_steps(steps: int) -> list[int]:
    """After how many steps a training's curve has its points."""
    stride = max(1, steps // POINTS)
    return list(range(steps, min(WINDOW, steps) - 1, -stride))[::-1]  # the last one is the end


def train(
    task: BenchmarkTask, examples: Examples, contestant: Contestant, rate: float | None, seed: int, steps: int
) -> Outcome:
    """Train a task for so many steps, and judge what came out."""
    network = task.build(examples, seed)
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = contestant.make(weights, rate)
    batches = task.batches(examples, seed, steps)
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BeyondTrainingWarning)  # which is what is measured here
        losses = _losses(task, network, optimizer, examples, batches)
    seconds = (time.perf_counter() - started) / len(losses)
    losses += [math.inf] * (steps - len(losses))
    held_out = math.inf
    if math.isfinite(losses[-1]):
        if hasattr(optimizer, "eval"):  # the weights of a schedule-free optimizer that are meant to be used
            optimizer.eval()
        held_out = _held_out_loss(task, network, examples, batches[-STATISTICS_BATCHES:])
    window = min(WINDOW, steps)
    curve = tuple(sum(losses[step - window : step]) / window for step in curve_steps(steps))
    final = sum(losses[-window:]) / window
    return Outcome(losses[0], max(losses[:EARLY_STEPS]), final, held_out, curve, seconds)


def _losses(
    task: BenchmarkTask, network: nn.Module, optimizer: Optimizer, examples: Examples, batches: Sequence[Tensor]
) -> list[float]:
    """Loss of each step, up to the first that is not finite."""
    network.train()
    if hasattr(optimizer, "train"):
        optimizer.train()
    inputs, targets = examples.train
    losses: list[float] = []
    for chosen in batches:
        loss = task.batch_loss(network, inputs[chosen], targets[chosen])
        losses.append(loss.item() if loss.isfinite() else math.inf)
        if math.isinf(losses[-1]):
            break
        optimizer.zero_grad()
        loss.backward()
        try:
            optimizer.step(**({"loss": loss.detach()} if isinstance(optimizer, LearnedOptimizer) else {}))
        except FloatingPointError:  # a gradient that is not finite: the next loss of another optimizer would not be
            losses[-1] = math.inf
            break
    return losses


@torch.no_grad()
def _held_out_loss(task: BenchmarkTask, network: nn.Module, examples: Examples, batches: Sequence[Tensor]) -> float:
    """Return the loss on all held-out examples, BatchNorm's statistics those of the last batches at these weights."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
    for chosen in batches if norms else ():
        network(examples.train[0][chosen])
    network.eval()
    loss = task.batch_loss(network, *examples.held_out)
    return loss.item() if loss.isfinite() else math.inf
