"""Green's functions whose spectra are known, as files, and the settings that continue them."""

import numpy as np

BETA = 10.0
FREQUENCIES = np.pi / BETA * (2 * np.arange(16) + 1)
POLE = 1.0
VALUES = 1 / (1j * FREQUENCIES - POLE)
ERRORS = np.full(16, 1e-3)
SETTINGS = (
    "green.kernel=fermionic_matsubara",
    f"green.beta={BETA}",
    "spectrum.method=maxent",
    "spectrum.omega_max=4",
    "spectrum.n_points=81",
)
"""Overrides that continue it in a tenth of a second."""


def write_green(path, values=VALUES, errors=ERRORS):
    """Write a text of four columns; returns the path."""
    np.savetxt(path, np.stack([FREQUENCIES, values.real, values.imag, errors], axis=1))
    return path
