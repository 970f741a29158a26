"""Batches of simulated data: one geometry each, with spectra and noise of their own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analytic_continuation.greens_function import as_real
from analytic_continuation.grids import weights
from analytic_continuation.kernels import Kernel
from analytic_continuation.training.shapes import GAUSSIANS, SHAPES
from analytic_continuation.unrolled.problems import Problems, problems
from analytic_continuation.unrolled.window import FINER, STEP, Window, fine_nodes, norm_row, quadrature
from analytic_continuation.whitening import decomposed

KERNEL_SHARES = {
    Kernel.FERMIONIC_MATSUBARA: 0.5,
    Kernel.FERMIONIC_TIME: 0.15,
    Kernel.BOSONIC_MATSUBARA: 0.2,
    Kernel.BOSONIC_TIME: 0.15,
}
INVERSE_TEMPERATURES = (15.0, 800.0)  # beta times half the window
FREQUENCIES = (8, 100)
TIMES = (16, 200)
NOISE = (-6.5, -1.5)  # log10 of the standard deviation over the largest value
KNOWN_NORM = 0.65  # of the batches of fermions at Matsubara frequencies
SMALLEST_SINGULAR = 1e-11  # of the largest one: below any noise


class Stream(IntEnum):
    """What simulations are for; those of one stream are in no other."""

    TRAINS = 0
    JUDGES = 1  # during a training
    CALIBRATES = 2
    TELLS = 3  # what the card says


@dataclass(frozen=True)
class Geometry:
    """What the problems of a batch have in common. errors: relative sizes at the points, [n]."""

    kernel: Kernel
    beta: float
    window: Window
    points: NDArray[np.float64]
    errors: NDArray[np.float64]
    norm_is_known: bool


@dataclass(frozen=True)
class Batch:
    """Problems with their true densities at the nodes, [B, NODES], and the noise over the largest value, [B]."""

    problems: Problems
    densities: Tensor
    noise: Tensor


def random_geometry(generator: np.random.Generator) -> Geometry:
    """Draw a kernel, temperature, window, points and sizes of errors."""
    kernel = list(KERNEL_SHARES)[generator.choice(len(KERNEL_SHARES), p=list(KERNEL_SHARES.values()))]
    beta = float(np.exp(generator.uniform(*np.log(INVERSE_TEMPERATURES))))
    centre = 0.0 if kernel.is_bosonic or generator.random() < 0.7 else generator.uniform(-0.5, 0.5)
    low, high = TIMES if kernel.is_in_time else FREQUENCIES
    count = int(np.exp(generator.uniform(np.log(low), np.log(high))))
    numbers = 2 * np.arange(count) + (0 if kernel.is_bosonic else 1)
    points = np.linspace(0, beta, count) if kernel.is_in_time else np.asarray(np.pi / beta * numbers, dtype=np.float64)
    slope = 0.0 if generator.random() < 0.7 else generator.normal(0, 0.7)
    errors = np.asarray(np.exp(slope * np.linspace(-1, 1, count)), dtype=np.float64)
    known = kernel is Kernel.FERMIONIC_MATSUBARA and generator.random() < KNOWN_NORM
    return Geometry(kernel, beta, Window(centre, 1.0, kernel.is_bosonic), points, errors, known)


def simulated(
    geometry: Geometry,
    densities: NDArray[np.float64],
    noise: NDArray[np.float64],
    generator: np.random.Generator,
) -> Batch:
    """Simulate data of densities at the fine nodes [B, fine], with noise over the largest value of each, [B]."""
    if geometry.window.is_even:
        densities = (densities + densities[:, ::-1]) / 2
    kernel = geometry.kernel.matrix(geometry.points, geometry.window.frequencies(fine_nodes()), geometry.beta)
    exact = (densities * weights(fine_nodes())) @ kernel.T
    sigma = noise * np.abs(exact).max(axis=1)
    errors = np.tile(geometry.errors, 2 if np.iscomplexobj(exact) else 1)
    rows, values = as_real(kernel) @ quadrature() / errors[:, None], as_real(exact.T) / errors[:, None]
    values = values + sigma * generator.normal(size=values.shape)
    jitter = np.ones(len(densities))
    if geometry.norm_is_known:
        row = norm_row(kernel, float(errors.min()))  # all rows are divided by sigma below
        rows = np.concatenate([rows, row[None]])
        values = np.concatenate([values, np.full((1, len(densities)), row.sum() / 2)])
    elif geometry.kernel is Kernel.FERMIONIC_MATSUBARA:  # the norm is an estimate, from the same data
        jitter = np.exp(0.1 * np.minimum(1, 30 * noise) * generator.normal(size=len(densities)))
    problem = decomposed(rows / np.sqrt(STEP), values)
    kept = problem.singular > SMALLEST_SINGULAR * problem.singular[0]
    singular = problem.singular[kept] * (jitter / sigma)[:, None]
    coefficients = (problem.data[kept].T / problem.singular[kept]) / jitter[:, None]
    return Batch(
        problems(singular, problem.right[kept], coefficients, geometry.beta, geometry.window),
        torch.from_numpy(densities[:, ::FINER].copy()).float(),
        torch.from_numpy(noise).float(),
    )


def random_batch(size: int, seed: tuple[int, ...], shapes: str = GAUSSIANS) -> Batch:
    """Draw a batch of one geometry, of spectra of `SHAPES`; the same for the same seed."""
    generator = np.random.default_rng(seed)
    geometry = random_geometry(generator)
    densities = np.stack([SHAPES[shapes](generator) for _ in range(size)])
    return simulated(geometry, densities, 10 ** generator.uniform(*NOISE, size), generator)


def held_out(stream: Stream, count: int, size: int, seed: int, shapes: str = GAUSSIANS) -> list[Batch]:
    """Simulate batches of a stream that trains nothing."""
    return [random_batch(size, (seed, stream, number), shapes) for number in range(count)]
