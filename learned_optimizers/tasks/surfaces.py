"""Losses without data: functions of two numbers, and noisy quadratics of a given spectrum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import log10

import torch
from torch import Tensor

from learned_optimizers.tasks.task import Configuration, Task, TaskTensors, uniform


@dataclass(frozen=True)
class Surface:
    """A published test function of two numbers. minimum: its least value.  radius: of the box it is shown in."""

    value: Callable[[Tensor, Tensor], Tensor]
    minimum: tuple[float, float]
    radius: float


SURFACES: Mapping[str, Surface] = {
    "rosenbrock": Surface(lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2, (1, 1), 2),
    "booth": Surface(lambda x, y: (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2, (1, 3), 10),
    "himmelblau": Surface(lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2, (3, 2), 5),
    "beale": Surface(
        lambda x, y: (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2, (3, 0.5), 4.5
    ),
    "matyas": Surface(lambda x, y: 0.26 * (x**2 + y**2) - 0.48 * x * y, (0, 0), 10),
}


@dataclass(frozen=True)
class SurfaceConfiguration(Configuration):
    """surface: its name.  start: the point where parameters are 0.  stretch: of the plane, per unit of a parameter."""

    surface: str
    start: tuple[float, float]
    stretch: float


class SurfaceTask(Task):
    """A function of two numbers, moved and stretched so that no optimum is where another task has one."""

    configuration: SurfaceConfiguration

    def __init__(self, family: str, seed: int, index: int, surfaces: Sequence[str]) -> None:
        name = surfaces[index % len(surfaces)]
        generator = Configuration(family, seed, index).generator("configuration")
        radius = SURFACES[name].radius / 2
        start = (uniform(-radius, radius, generator), uniform(-radius, radius, generator))
        self.configuration = SurfaceConfiguration(family, seed, index, name, start, 2 ** uniform(-1, 1, generator))

    @property
    def bucket(self) -> tuple[object, ...]:
        """Family and function."""
        return (self.configuration.family, self.configuration.surface)

    @cached_property
    def constants(self) -> TaskTensors:
        """Start and stretch."""
        return torch.tensor(self.configuration.start), torch.tensor(self.configuration.stretch)

    def initial(self, generator: torch.Generator) -> list[Tensor]:
        """Near the start."""
        return [0.1 * torch.randn(2, generator=generator)]

    def loss(self, params: Sequence[Tensor], constants: TaskTensors, samples: TaskTensors) -> Tensor:
        """Return the function's value, least value 0."""
        start, stretch = constants
        x, y = start + stretch * params[0]
        return SURFACES[self.configuration.surface].value(x, y)


SMALLEST_EIGENVALUE = 1e-3
CENTRES = 512


@dataclass(frozen=True)
class QuadraticConfiguration(Configuration):
    """eigenvalues: of the Hessian, 10^U(-3, 0).  noise: standard deviation of the centres of single samples."""

    eigenvalues: tuple[float, ...]
    noise: float


class Quadratic(Task):
    """Mean over samples of (p - c)^T H (p - c) / 2, c ~ N(p*, noise^2 I): noisy quadratics (Zhang et al. 2019).

    H has a random basis; p* ~ N(0, I); parameters start from N(0, I).
    """

    batch_size = 8
    dimensions: tuple[int, ...] = (6, 24)
    configuration: QuadraticConfiguration

    def __init__(self, family: str, seed: int, index: int) -> None:
        generator = Configuration(family, seed, index).generator("configuration")
        low = log10(SMALLEST_EIGENVALUE)
        count = self.dimensions[index % len(self.dimensions)]
        eigenvalues = tuple(10 ** uniform(low, 0, generator) for _ in range(count))
        self.configuration = QuadraticConfiguration(
            family, seed, index, eigenvalues, noise=10 ** uniform(-2, -0.5, generator)
        )

    @property
    def bucket(self) -> tuple[object, ...]:
        """Family and dimensions."""
        return (self.configuration.family, len(self.configuration.eigenvalues))

    @property
    def spectrum(self) -> tuple[float, float]:
        """Return the bounds that eigenvalues are drawn between."""
        return SMALLEST_EIGENVALUE, 1.0

    @cached_property
    def constants(self) -> TaskTensors:
        """Return the Hessian [n, n]."""
        count = len(self.configuration.eigenvalues)
        drawn = torch.randn(count, count, generator=self.configuration.generator("basis"))
        basis = torch.linalg.qr(drawn).Q
        return ((basis * torch.tensor(self.configuration.eigenvalues)) @ basis.T,)

    @cached_property
    def data(self) -> TaskTensors:
        """Centres [N, n]."""
        count, generator = len(self.configuration.eigenvalues), self.configuration.generator("data")
        optimum = torch.randn(count, generator=generator)
        return (optimum + self.configuration.noise * torch.randn(CENTRES, count, generator=generator),)

    def initial(self, generator: torch.Generator) -> list[Tensor]:
        """Draw from N(0, I)."""
        return [torch.randn(len(self.configuration.eigenvalues), generator=generator)]

    def loss(self, params: Sequence[Tensor], constants: TaskTensors, samples: TaskTensors) -> Tensor:
        """Return the quadratic form, mean over the centres."""
        away = params[0] - samples[0]
        return ((away @ constants[0]) * away).sum(-1).mean() / 2


class ExactQuadratic(Quadratic):
    """(p - p*)^T H (p - p*) / 2 of five dimensions, without noise: the quadratics of arXiv 2011.02159."""

    dimensions = (5,)

    def __init__(self, family: str, seed: int, index: int) -> None:
        super().__init__(family, seed, index)
        self.configuration = replace(self.configuration, noise=0.0)

    @cached_property
    def constants(self) -> TaskTensors:
        """Return the Hessian [5, 5] and where the minimum is, [5]."""
        generator = self.configuration.generator("data")
        return (*super().constants, torch.randn(len(self.configuration.eigenvalues), generator=generator))

    @cached_property
    def data(self) -> TaskTensors:
        """Return nothing: every step sees the same loss."""
        return ()

    def loss(self, params: Sequence[Tensor], constants: TaskTensors, samples: TaskTensors) -> Tensor:
        """Return the quadratic form."""
        hessian, optimum = constants
        away = params[0] - optimum
        return (away @ hessian) @ away / 2
