"""Off-diagonal data: spectra of both signs."""

import numpy as np
import pytest

from analytic_continuation import GreensFunction, Kernel, continue_spectrum, linear_grid
from analytic_continuation.grids import weights
from analytic_continuation.signed import shifted

BETA = 20.0
POINTS = np.pi / BETA * (2 * np.arange(20) + 1)
GRID = linear_grid(-8, 8, 201)
TRUTH = GRID * np.exp(-0.5 * GRID**2) / 2


def measured(noise=1e-5):
    exact = Kernel.FERMIONIC_MATSUBARA.matrix(POINTS, GRID, BETA) @ (TRUTH * weights(GRID))
    draw = np.random.default_rng(0).normal(size=(2, 20))
    return GreensFunction(POINTS, exact + noise * (draw[0] + 1j * draw[1]), np.full(20, noise), "freq_fermionic", BETA)


def test_the_background_is_larger_than_the_spectrum_is_negative():
    moved = shifted(measured(), GRID)
    assert (moved.background + TRUTH).min() > -1e-3
    back = Kernel.FERMIONIC_MATSUBARA.matrix(POINTS, GRID, BETA) @ (moved.background * weights(GRID))
    np.testing.assert_allclose(moved.green.values - back, measured().values, atol=1e-12)
    assert weights(GRID) @ moved.background == pytest.approx(moved.norm)


@pytest.mark.parametrize("method", ["maxent", "learned", "maxent_neural"])
def test_a_spectrum_that_rises_through_zero_is_found(method):
    found = continue_spectrum(measured(), GRID, method, norm=0.0, positive=False)
    error = np.sum(np.abs(found.values - TRUTH) * weights(GRID)) / np.sum(np.abs(TRUTH) * weights(GRID))
    assert error < 0.35
    assert found.norm == pytest.approx(0, abs=0.02)
    assert found.values.min() < -0.1


def test_a_spectrum_of_one_sign_cannot_be_told_a_norm_of_zero():
    with pytest.raises(ValueError, match="norm: expected a positive number"):
        continue_spectrum(measured(), GRID, norm=0.0)
