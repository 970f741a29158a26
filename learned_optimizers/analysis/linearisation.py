"""Fixed points of an optimizer's state, and its dynamics about one: Jacobian, eigenvalues, step size of each mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from learned_optimizers.analysis.step_function import Moment, StepFunction

WIDTH = 1e-5  # of a central difference, in typical sizes of what is varied
PLAIN_STEPS = 20  # of the optimizer itself, before Newton's
NEWTON_STEPS = 30
SETTLED = 1e-24  # speed over the squared size of the state, of what needs no further step
SAME = 1e-6  # distance of eigenvalues that are one mode
NOTHING = 1e-12


@dataclass(frozen=True)
class Mode:
    """A direction of the state: its share of the update falls by `decay` each step.

    decay: eigenvalue of the Jacobian.  step_size: what of a gradient is subtracted through it at once.  Both: complex.
    A gradient g thus moves the parameter by -g * sum of step_size * decay^s over modes, s steps later.
    """

    decay: complex
    step_size: complex

    @property
    def strength(self) -> float:
        """Return the length of its response to one gradient: |step size| / sqrt(1 - |decay|^2)."""
        return float(abs(self.step_size) / max(1 - abs(self.decay) ** 2, NOTHING) ** 0.5)


@dataclass(frozen=True)
class FixedPoints:
    """States that a step leaves about where they are. states: [m, rows].  speeds: ||h - F(h)||^2 / 2 of each, [m]."""

    states: Tensor
    speeds: Tensor

    @property
    def slowest(self) -> Tensor:
        """Return the state that moves least, [rows]."""
        return self.states[self.speeds.argmin()]


def fixed_points(function: StepFunction, starts: Tensor, gradient: float, moment: Moment, scale: Tensor) -> FixedPoints:
    """Minimise ||h - F(h, g)||^2 / 2 from each start, [m, rows], by steps of the optimizer and then Newton's.

    scale: typical size of each row, [rows].  A Newton step that lowers the speed is taken, else one of the optimizer.
    """
    gradients = torch.full((len(starts),), gradient, dtype=starts.dtype)

    def moved(states: Tensor) -> Tensor:
        return function(states, gradients[:1].expand(len(states)), moment)[0]

    states = starts
    for _ in range(PLAIN_STEPS):
        states = moved(states)
    after = moved(states)
    for _ in range(NEWTON_STEPS if states.shape[1] else 0):
        residuals = after - states
        if (_speeds(states, after) <= SETTLED * scale.square().sum()).all():
            break
        jacobians = derivatives(moved, states, scale)
        identity = torch.eye(states.shape[1], dtype=states.dtype)
        solvable = (jacobians - identity).nan_to_num()
        newton = states - (torch.linalg.pinv(solvable, rtol=1e-9) @ residuals[:, :, None])[:, :, 0]
        after_newton = moved(newton)
        is_better = _speeds(newton, after_newton) < _speeds(states, after)  # false of what is not finite
        states = torch.where(is_better[:, None], newton, after)
        after = torch.where(is_better[:, None], after_newton, moved(after))
    speeds = _speeds(states, after).nan_to_num(torch.inf)
    return FixedPoints(states, speeds)


def _speeds(states: Tensor, after: Tensor) -> Tensor:
    return (states - after).square().sum(1) / 2


def derivatives(function: Callable[[Tensor], Tensor], points: Tensor, scale: Tensor) -> Tensor:
    """Jacobians at points [m, c] of a function [n, c] -> [n, r], by central differences: [m, r, c]. scale: [c]."""
    widths = WIDTH * torch.where(scale > 0, scale, 1.0)
    moves = torch.diag(widths)
    sides = [points[:, None] + side * moves for side in (1, -1)]
    values = [function(side.reshape(-1, points.shape[1])).view(*side.shape[:2], -1) for side in sides]
    return ((values[0] - values[1]) / (2 * widths[:, None])).transpose(1, 2)


def modes(
    function: StepFunction, state: Tensor, gradient: float, moment: Moment, scale: Tensor, size: float
) -> list[Mode]:
    """Modes of the dynamics about a state [rows], strongest first; of equal decay, they are one.

    A mode without decay is what a gradient moves at once and is forgotten, as in plain SGD.  size: of a gradient.
    Raises FloatingPointError where there is no derivative.
    """
    rows = len(state)

    def moved(points: Tensor) -> Tensor:
        states, updates = function(points[:, :rows], points[:, rows], moment)
        return torch.cat([states, updates[:, None]], dim=1)

    point = torch.cat([state, state.new_tensor([gradient])])[None]
    found = derivatives(moved, point, torch.cat([scale, scale.new_tensor([size])]))[0]
    if not found.isfinite().all():
        raise FloatingPointError(f"{function.name} has no derivative at the state {state.tolist()}")
    jacobian, into, out, at_once = found[:rows, :rows], found[:rows, rows], found[rows, :rows], found[rows, rows]
    values, right = torch.linalg.eig(jacobian)
    entering = torch.linalg.pinv(right) @ into.to(right.dtype)
    later = (out.to(right.dtype) @ right) * entering  # of each mode, one step after the gradient
    lasting = [
        Mode(complex(value), complex(share / value))
        for value, share in zip(values, later, strict=True)
        if abs(value) > SAME
    ]
    rest = at_once.item() - sum((mode.step_size for mode in lasting), 0j)
    merged = _merged([*lasting, Mode(0j, rest)])
    most = max((mode.strength for mode in merged), default=0.0)
    return sorted(
        (mode for mode in merged if mode.strength >= 1e-9 * most), key=lambda mode: mode.strength, reverse=True
    )


def _merged(found: list[Mode]) -> list[Mode]:
    merged: list[Mode] = []
    for mode in found:
        near = [index for index, other in enumerate(merged) if abs(other.decay - mode.decay) < SAME]
        if near:
            other = merged[near[0]]
            merged[near[0]] = Mode(other.decay, other.step_size + mode.step_size)
        else:
            merged.append(mode)
    return merged


def heavy_ball_optimum(smallest: float, largest: float) -> Mode:
    """Step size and decay of the heavy ball that is fastest on quadratics of this spectrum (Polyak 1964).

    >>> mode = heavy_ball_optimum(1e-3, 1.0)
    >>> round(mode.step_size.real, 2), round(mode.decay.real, 3)
    (3.76, 0.881)
    """
    low, high = smallest**0.5, largest**0.5
    return Mode(complex(((high - low) / (high + low)) ** 2), complex(4 / (high + low) ** 2))
