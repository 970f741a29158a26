"""Kernels against closed forms, and against one another by Fourier sums."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit

from analytic_continuation import ALIASES, Kernel, linear_grid
from analytic_continuation.grids import weights

BETA = 10.0
FERMIONIC = np.pi / BETA * (2 * np.arange(6) + 1)
BOSONIC = np.pi / BETA * 2 * np.arange(6)


def integrated(kernel, points, spectrum, low, high):
    """The integral of kernel times spectrum at each point, by adaptive quadrature."""

    def part(point, take):
        def value(omega):
            return take(kernel.matrix([point], [omega], BETA)[0, 0]) * spectrum(omega)

        return quad(value, low, high, limit=500, epsabs=1e-12, epsrel=1e-11)[0]

    return np.array([part(point, np.real) + 1j * part(point, np.imag) for point in points])


def test_a_semicircle_has_its_closed_form():
    half = 2.0

    def semicircle(omega):
        return 2 / (np.pi * half**2) * np.sqrt(half**2 - omega**2)

    z = 1j * FERMIONIC
    exact = 2 * (z - 1j * np.sqrt(half**2 - z**2)) / half**2
    found = integrated(Kernel.FERMIONIC_MATSUBARA, FERMIONIC, semicircle, -half, half)
    np.testing.assert_allclose(found, exact, rtol=1e-7, atol=1e-9)


def test_a_lorentzian_has_its_closed_form():
    width, centre = 0.3, 0.7

    def lorentzian(omega):
        return width / np.pi / ((omega - centre) ** 2 + width**2)

    found = integrated(Kernel.FERMIONIC_MATSUBARA, FERMIONIC, lorentzian, -np.inf, np.inf)
    np.testing.assert_allclose(found, 1 / (1j * FERMIONIC - centre + 1j * width), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("energy", [-3.0, 0.0, 1.5, 400.0, -400.0])
def test_a_pole_in_time_is_the_free_propagator(energy):
    tau = np.linspace(0, BETA, 7)
    found = Kernel.FERMIONIC_TIME.matrix(tau, [energy], BETA)[:, 0]
    if abs(energy) < 100:  # beyond, the closed form overflows
        np.testing.assert_allclose(found, -np.exp(-tau * energy) * expit(BETA * energy), rtol=1e-12)
    assert np.isfinite(found).all()
    assert found[0] + found[-1] == pytest.approx(-1)  # the anticommutator


@pytest.mark.parametrize(
    ("in_time", "at_frequencies", "points"),
    [
        (Kernel.FERMIONIC_TIME, Kernel.FERMIONIC_MATSUBARA, FERMIONIC),
        (Kernel.BOSONIC_TIME, Kernel.BOSONIC_MATSUBARA, BOSONIC),
    ],
)
@pytest.mark.parametrize("omega", [0.0, 0.4, 2.0])
def test_what_is_measured_at_frequencies_is_the_fourier_integral_of_what_is_measured_in_time(
    in_time, at_frequencies, points, omega
):
    tau = linear_grid(0, BETA, 20001)
    values = in_time.matrix(tau, [omega], BETA)[:, 0]
    found = np.exp(1j * points[:, None] * tau) @ (values * weights(tau))
    np.testing.assert_allclose(found, at_frequencies.matrix(points, [omega], BETA)[:, 0], atol=2e-6)


def test_a_susceptibility_at_frequency_zero_is_the_norm():
    assert Kernel.BOSONIC_MATSUBARA.matrix([0.0], [0.0, 0.1, 3.0], BETA).tolist() == [[1, 1, 1]]
    np.testing.assert_allclose(Kernel.BOSONIC_TIME.matrix([0.0], [0.0, 1e-9], BETA), 1 / BETA)


def test_the_names_of_ana_cont_are_understood_and_others_are_refused():
    assert {Kernel(name) for name in ALIASES} == set(Kernel)
    with pytest.raises(ValueError, match=r"expected a kernel out of fermionic_matsubara, .* found 'laplace'"):
        Kernel("laplace")
