"""Write examples/green.txt, a Green's function whose spectrum is known: python examples/make_green.py.

Two Gaussian peaks with a gap between them, beta = 20, 32 fermionic Matsubara frequencies, independent errors of 1e-4.
"""

from pathlib import Path

import numpy as np

from analytic_continuation import Kernel, linear_grid

BETA = 20.0
ERROR = 1e-4
HEAD = "w_n  Re G(i w_n)  Im G(i w_n)  error of each part; beta = 20"


def spectrum(omega):
    """Return the spectrum [m], whose integral is 1."""
    peaks = [(0.6, -1.2, 0.4), (0.4, 1.6, 0.6)]  # weight, centre, width
    return sum(
        weight * np.exp(-0.5 * ((omega - centre) / width) ** 2) / (width * np.sqrt(2 * np.pi))
        for weight, centre, width in peaks
    )


def main():
    frequencies = np.pi / BETA * (2 * np.arange(32) + 1)
    omega = linear_grid(-8, 8, 4001)
    exact = Kernel.FERMIONIC_MATSUBARA.matrix(frequencies, omega, BETA) @ spectrum(omega) * (omega[1] - omega[0])
    noise = np.random.default_rng(0).normal(0, ERROR, (2, len(frequencies)))
    columns = [frequencies, exact.real + noise[0], exact.imag + noise[1], np.full(len(frequencies), ERROR)]
    np.savetxt(Path(__file__).with_name("green.txt"), np.stack(columns, axis=1), fmt="%.8f", header=HEAD)


if __name__ == "__main__":
    main()
