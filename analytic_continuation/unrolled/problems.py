"""Batches of dimensionless problems as the network reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analytic_continuation.unrolled.window import Window

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
