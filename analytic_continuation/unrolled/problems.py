"""Batches of dimensionless problems as the network reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analytic_continuation.greens_function import GreensFunction
from analytic_continuation.kernels import Kernel
from analytic_continuation.unrolled.reduced_kernel import reduced_kernel
from analytic_continuation.unrolled.window import STEP, Window
from analytic_continuation.whitening import WhitenedProblem, Whitening, decomposed

FEATURES = 4


@dataclass(frozen=True)
class Problems:
    """A batch of problems of one geometry, in single precision.

    singular: s of the whitened kernel, [B, r].  right: v^T, [r, NODES].  coefficients: u^T G / s, [B, r].
    features: [B, FEATURES].  is_even: of bosons.
    """

    singular: Tensor
    right: Tensor
    coefficients: Tensor
    features: Tensor
    is_even: bool


def dimensionless(
    greens: Sequence[GreensFunction], window: Window, norms: NDArray[np.float64], *, is_known: bool
) -> WhitenedProblem:
    """Whiten and decompose problems of densities over u, in units in which singular values know no grid.

    greens: B of them, with the same points, errors, kernel and beta.  norms: integrals of their spectra, [B].
    is_known: each norm is one more datum, as precise as the data, at Matsubara frequencies of fermions.
    Returns the problem of spectra of norm 1, with data [r, B]; singular values grow with the norm.
    """
    first, base = greens[0], reduced_kernel(greens[0], window)
    whiten = Whitening(first)
    rows = whiten(base.left)
    values = whiten(np.stack([green.real_values for green in greens], axis=1))
    if is_known and first.kernel is Kernel.FERMIONIC_MATSUBARA:  # other data hold the norm themselves
        smallest = float(first.errors.min())
        rows = np.concatenate([rows, base.norm[None] / smallest])
        values = np.concatenate([values, norms[None] * base.largest / smallest])
    found = decomposed(rows / np.sqrt(STEP), values)
    return replace(found, right=found.right @ base.right)


def problems(
    singular: NDArray[np.float64],
    right: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    beta: float,
    window: Window,
) -> Problems:
    """Return problems with their features. singular, coefficients: [B, r].  right: [r, NODES]."""
    return Problems(
        singular=_single(singular),
        right=_single(right),
        coefficients=_single(coefficients),
        features=_single(features(singular, beta, window)),
        is_even=window.is_even,
    )


def features(singular: NDArray[np.float64], beta: float, window: Window) -> NDArray[np.float64]:
    """Say how good the data are: of all singular values [..., r] the largest, and how many are above the noise."""
    squares = singular**2
    good = np.sum(squares / (1 + squares), axis=-1)
    temperature = np.full(good.shape, np.log10(beta * window.half) - 2)
    even = np.full(good.shape, float(window.is_even))
    return np.stack([np.log10(singular[..., 0]) / 3 - 1, good / 10 - 1, temperature, even], axis=-1)


def _single(array: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
