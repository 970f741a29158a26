"""Analytic continuation: spectral functions from noisy Matsubara data.

import numpy as np
from analytic_continuation import GreensFunction, continue_spectrum, linear_grid

frequencies, real, imaginary, errors = np.loadtxt("examples/green.txt", unpack=True)
green = GreensFunction(frequencies, real + 1j * imaginary, errors, "fermionic_matsubara", beta=20)
spectrum = continue_spectrum(green, linear_grid(-8, 8, 801))
"""

from typing import TYPE_CHECKING

from on_demand import exports

if TYPE_CHECKING:
    from analytic_continuation.continuation import continue_spectra, continue_spectrum
    from analytic_continuation.greens_function import GreensFunction
    from analytic_continuation.grids import centred_grid, linear_grid
    from analytic_continuation.kernels import Kernel
    from analytic_continuation.names import ALIASES, ALPHA_RULES, KERNELS, METHODS
    from analytic_continuation.spectrum import Peak, Spectrum
else:
    __getattr__ = exports(__name__, __file__)

__all__ = [
    "ALIASES",
    "ALPHA_RULES",
    "KERNELS",
    "METHODS",
    "GreensFunction",
    "Kernel",
    "Peak",
    "Spectrum",
    "centred_grid",
    "continue_spectra",
    "continue_spectrum",
    "linear_grid",
]
