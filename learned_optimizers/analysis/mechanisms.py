"""The four mechanisms of arXiv 2011.02159: momentum, gradient clipping, learning rate schedule, rate adaptation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from learned_optimizers.analysis.linearisation import FixedPoints, Mode, fixed_points, modes
from learned_optimizers.analysis.step_function import Moment, StepFunction
from learned_optimizers.analysis.trainings import Visited

STARTS = 48  # visited states that fixed points are looked for from
LEAST_SHARE = 0.3  # of the strongest mode's strength, of a mode that leads
TINY = 1e-30  # that a logarithm is taken of at least
FAR = 20.0  # size of a gradient at which saturation is asked for, as in the paper
SMALL = 1e-3  # of a typical gradient: so far from 0 slopes are measured
GRID = 60  # gradients on either side of 0
DECADES = 5
SIZES = torch.logspace(-2, 2, 9, dtype=torch.float64)  # of constant gradients, in typical ones
NEAR = 1e-3  # of the largest size, and inversely: what lies within ten times a typical gradient
SETTLING = 40  # steps under a constant gradient, before Newton's


def _ratio(one: float, other: float) -> float:
    """Divide; what does nothing at all has everything alike."""
    return one / other if other else (1.0 if not one else 1 / TINY)


@dataclass(frozen=True)
class Momentum:
    """Dynamics about the state that moves least. gradient: under which it stays; 0 where there is a derivative.

    modes: strongest first.  speeds: of all fixed points found, [starts].
    """

    gradient: float
    state: Tensor
    modes: tuple[Mode, ...]
    speeds: Tensor

    @property
    def leading(self) -> Mode | None:
        """Return the slowest of the strong modes that last longer than a step; None for an optimizer without memory.

        Strong are those of at least LEAST_SHARE of the strongest one's strength: pairs of fast modes may be large and
        cancel each other, and what lasts is what the slow ones do.
        """
        strong = [mode for mode in self.modes if mode.strength >= LEAST_SHARE * self.modes[0].strength]
        return max((mode for mode in strong if mode.decay), key=lambda mode: abs(mode.decay), default=None)


@dataclass(frozen=True)
class Clipping:
    """Update against gradient at the fixed point. gradients, updates: [points], updates minus that of no gradient.

    slope: at 0.  far_slope: at the size `far`.  knee: where the line of that slope meets the largest update.
    beyond: share of the gradients met that are larger than the knee.
    """

    gradients: Tensor
    updates: Tensor
    slope: float
    far: float
    far_slope: float
    knee: float
    beyond: float

    @property
    def ratio(self) -> float:
        """Return the slope far out over that at 0."""
        return _ratio(abs(self.far_slope), abs(self.slope))


@dataclass(frozen=True)
class Schedule:
    """Effective rate against step under zero gradient: the slope of the update, [steps]."""

    rates: Tensor

    @property
    def change(self) -> float:
        """Return the last rate over the first."""
        return _ratio(self.rates[-1].item(), self.rates[0].item())

    @property
    def span(self) -> float:
        """Return the largest rate over the smallest."""
        sizes = self.rates.abs()
        return _ratio(sizes.max().item(), sizes.min().item())


@dataclass(frozen=True)
class Adaptation:
    """States that settle under constant gradients of several sizes, [sizes], and how the optimizer steps there.

    slopes: of the update at gradient 0.  gains: update over gradient.  speeds: how far from settled.
    """

    sizes: Tensor
    slopes: Tensor
    gains: Tensor
    speeds: Tensor

    @property
    def ratio(self) -> float:
        """Return the slope under the largest gradients over that under the smallest."""
        return _ratio(self.slopes[-1].abs().item(), self.slopes[0].abs().item())

    @property
    def exponent(self) -> float:
        """Return the power of the size that the slope falls or rises with, over the sizes from a tenth to ten times."""
        near = (self.sizes >= NEAR * self.sizes[-1]) & (self.sizes * NEAR <= self.sizes[0])
        sizes, slopes = self.sizes[near].log(), self.slopes[near].abs().clamp(min=TINY).log()
        away = sizes - sizes.mean()
        return ((away * slopes).sum() / away.square().sum()).item()


def momentum(function: StepFunction, visited: Visited, moment: Moment) -> Momentum:
    """Find fixed points from visited states, and the modes about the one that moves least.

    Under zero gradient, but where there is no derivative (the root of a second moment of 0), under a typical one.
    """
    flat = visited.states.flatten(0, 1)
    chosen = torch.linspace(0, len(flat) - 1, STARTS).long()
    for gradient in (0.0, visited.size):
        found = fixed_points(function, flat[chosen], gradient, moment, visited.scale)
        if not found.speeds.isfinite().any():
            continue
        try:
            seen = modes(function, found.slowest, gradient, moment, visited.scale, visited.size)
        except FloatingPointError:
            continue
        return Momentum(gradient, found.slowest, tuple(seen), found.speeds)
    raise ValueError(f"{function.name} has no derivative where its state settles, be gradients zero or typical")


def clipping(function: StepFunction, visited: Visited, state: Tensor, moment: Moment) -> Clipping:
    """Trace the update against the gradient at a state [rows]."""
    most = max(FAR, 4 * visited.gradients.abs().max().item())
    sizes = most * torch.logspace(-DECADES, 0, GRID, dtype=torch.float64)
    gradients = torch.cat([-sizes.flip(0), sizes.new_zeros(1), sizes])
    states = state.expand(len(gradients), -1)
    updates = function(states, gradients, moment)[1]
    updates = updates - updates[GRID]
    slope, far_slope = (
        function.slopes(state[None], torch.tensor([at], dtype=torch.float64), moment, SMALL * width).item()
        for at, width in ((0.0, visited.size), (FAR, FAR))
    )
    level = updates.abs().max().item()
    knee = level / abs(slope) if slope else torch.inf
    beyond = (visited.gradients.abs() > knee).double().mean().item()
    return Clipping(gradients, updates, slope, FAR, far_slope, knee, beyond)


def schedule(function: StepFunction, visited: Visited, steps: int) -> Schedule:
    """Measure the slope of the update at each of the first steps, from the first state on under zero gradient."""
    states, nothing, rates = function.initial()[None], torch.zeros(1, dtype=torch.float64), []
    for step in range(steps):
        moment = Moment(step, visited.size)
        rates.append(function.slopes(states, nothing, moment, SMALL * visited.size))
        states, _ = function(states, nothing, moment)
    return Schedule(torch.cat(rates))


def adaptation(function: StepFunction, visited: Visited, step: int) -> Adaptation:
    """Let the state settle under constant gradients of several sizes, and measure the slope of the update there."""
    found = []
    for size in (visited.size * SIZES).tolist():
        moment, gradient = Moment(step, size), torch.tensor([size], dtype=torch.float64)
        state = function.initial()[None]
        for _ in range(SETTLING):
            state, _ = function(state, gradient, moment)
        settled: FixedPoints = fixed_points(function, state, size, moment, state[0].abs())
        slope = function.slopes(settled.states, torch.zeros_like(gradient), moment, SMALL * size)
        gain = function(settled.states, gradient, moment)[1] / gradient
        found.append(torch.stack([slope[0], gain[0], settled.speeds[0]]))
    slopes, gains, speeds = torch.stack(found).unbind(1)
    return Adaptation(visited.size * SIZES, slopes, gains, speeds)
