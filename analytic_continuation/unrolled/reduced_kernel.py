"""The kernel at the nodes in few rows, whatever the errors, kept for the next data at the same points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from analytic_continuation.greens_function import GreensFunction, as_real
from analytic_continuation.grids import weights
from analytic_continuation.kernels import Kernel
from analytic_continuation.unrolled.window import Window, fine_nodes, largest_of_flat, nodes, quadrature

KEPT = 8  # kernels of points, temperatures and windows; each is at most some hundred kilobytes


@dataclass(frozen=True, eq=False)
class ReducedKernel:
    """A kernel at the nodes as factors: rows = left @ right, whose right rows are orthonormal.

    left: [n, r] of real data, [2 n, r] of complex ones, r at most NODES.  norm: row of the integral, as large as the
    largest datum of a flat spectrum, [r].  largest: that datum.  right: [r, NODES].
    """

    left: NDArray[np.float64]
    norm: NDArray[np.float64]
    largest: float
    right: NDArray[np.float64]


def reduced_kernel(green: GreensFunction, window: Window) -> ReducedKernel:
    """Return the kernel of a Green's function's points; the last few are kept, as data often share their points."""
    return _reduced(green.kernel, green.points.tobytes(), green.beta, window)


@lru_cache(maxsize=KEPT)
def _reduced(kernel: Kernel, points: bytes, beta: float, window: Window) -> ReducedKernel:
    matrix = kernel.matrix(np.frombuffer(points), window.frequencies(fine_nodes()), beta)
    largest = largest_of_flat(matrix)
    rows = np.concatenate([as_real(matrix) @ quadrature(), largest * weights(nodes())[None]])
    right, left = np.linalg.qr(rows.T)
    return ReducedKernel(left.T[:-1], left.T[-1], largest, right.T)
