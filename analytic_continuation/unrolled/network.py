"""The network: stages of a convex problem and a small convolutional correction, unrolled."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from analytic_continuation.unrolled.problems import FEATURES, Problems
from analytic_continuation.unrolled.stages import filters, solve_stage
from analytic_continuation.unrolled.window import NODES, STEP

STAGES = 6
CHANNELS = 16
KERNEL = 5
DILATIONS = (4, 16)
INPUTS = 4  # the stage's solution, its starting point, the data's part in it, and where in the window
SHARPNESS = 10.0  # of the softplus inside; the last one is sharper, as it follows the last fit to the data
LAST_SHARPNESS = 200.0
SMALLEST_SCALE = 1e-3  # of the error that is expected, in densities over u
RHO_RANGE = (-3.0, 7.0)  # of log10 rho


@dataclass(frozen=True)
class Unrolled:
    """What the network gives: the density after each stage, each [B, NODES], and the size of error it expects."""

    densities: tuple[Tensor, ...]
    scale: Tensor
    log_rho: Tensor  # [B, STAGES], to base 10

    @property
    def density(self) -> Tensor:
        """Return the last density."""
        return self.densities[-1]


class Convolutions(nn.Module):
    """Convolutions of growing dilation over the window, steered by the features: [B, INPUTS, NODES] -> [B, NODES]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(INPUTS, channels, KERNEL, padding=KERNEL // 2)
        self.steer = nn.Linear(FEATURES, channels)
        self.wider = nn.ModuleList(
            nn.Conv1d(channels, channels, KERNEL, padding=KERNEL // 2 * dilation, dilation=dilation)
            for dilation in DILATIONS
        )
        self.last = nn.Conv1d(channels, 1, KERNEL, padding=KERNEL // 2)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, inputs: Tensor, features: Tensor) -> Tensor:
        """Return what a stage adds to its solution, or the logarithm of a size of error: 0 before any training."""
        hidden = F.relu(self.first(inputs) + self.steer(features)[..., None])
        for convolution in self.wider:
            hidden = hidden + F.relu(convolution(hidden))
        found: Tensor = self.last(hidden)[:, 0]
        return found


class UnrolledNetwork(nn.Module):
    """Alternate exact solutions of convex problems and learned corrections; the last stage is a solution alone."""

    place: Tensor

    def __init__(self, stages: int = STAGES, channels: int = CHANNELS) -> None:
        super().__init__()
        self.rho = nn.ModuleList(
            nn.Sequential(nn.Linear(FEATURES, 16), nn.Tanh(), nn.Linear(16, 1)) for _ in range(stages)
        )
        self.corrections = nn.ModuleList(Convolutions(channels) for _ in range(stages - 1))
        self.error = Convolutions(channels)
        self.register_buffer("place", torch.linspace(-1, 1, NODES), persistent=False)

    def forward(self, problems: Problems) -> Unrolled:
        """Solve a batch: densities over u, not negative, each of integral 1."""
        batch = len(problems.singular)
        density = torch.full((batch, NODES), 0.5, dtype=problems.singular.dtype, device=problems.singular.device)
        densities, logs = [], []
        for stage, estimate in enumerate(self.rho):
            log_rho = (1 + estimate(problems.features)).clamp(*RHO_RANGE)
            rho = 10**log_rho
            solution = solve_stage(density, rho, problems.singular, problems.right, problems.coefficients)
            part = filters(problems.singular, rho) @ (problems.right**2) * (NODES / 10)
            inputs = torch.stack([solution, density, part, self.place.expand(batch, -1)], dim=1)
            if stage < len(self.corrections):
                corrected = solution + self.corrections[stage](inputs, problems.features)
                density = normalised(F.softplus(corrected, beta=SHARPNESS), problems.is_even)
            else:
                density = normalised(F.softplus(solution, beta=LAST_SHARPNESS), problems.is_even)
            densities.append(density)
            logs.append(log_rho)
        inputs = torch.stack([density.detach(), *inputs.detach()[:, 1:].unbind(1)], dim=1)
        scale = F.softplus(self.error(inputs, problems.features) - 2) + SMALLEST_SCALE
        return Unrolled(tuple(densities), _mirrored(scale, problems.is_even), torch.cat(logs, dim=1))


def normalised(density: Tensor, is_even: bool) -> Tensor:
    """Return a density [B, NODES] of integral 1; an even one where that is asked for."""
    density = _mirrored(density, is_even)
    ends = (density[:, :1] + density[:, -1:]) / 2
    return density / ((density.sum(dim=1, keepdim=True) - ends) * STEP)


def _mirrored(values: Tensor, is_even: bool) -> Tensor:
    return (values + values.flip(1)) / 2 if is_even else values
