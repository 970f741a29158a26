"""What is no Green's function is refused in one line, before anything is computed."""

import numpy as np
import pytest

from analytic_continuation import GreensFunction, centred_grid, continue_spectrum, linear_grid

BETA = 10.0
POINTS = np.pi / BETA * (2 * np.arange(8) + 1)
GIVEN = {
    "points": POINTS,
    "values": 1 / (1j * POINTS - 1),
    "errors": np.full(8, 1e-3),
    "kernel": "fermionic_matsubara",
    "beta": BETA,
}
TIMES = {
    "points": np.linspace(0, BETA, 8),
    "values": np.full(8, -0.5),
    "errors": np.full(8, 1e-3),
    "kernel": "fermionic_time",
    "beta": BETA,
}
NEGATIVE = np.diag(np.r_[np.ones(7), -1.0])


@pytest.mark.parametrize(
    ("base", "change", "message"),
    [
        (GIVEN, {"beta": 0}, "beta: expected a positive number, found 0"),
        (GIVEN, {"beta": np.nan}, "beta: expected a positive number, found nan"),
        (GIVEN, {"points": POINTS + 0.1}, "is no fermionic Matsubara frequency of beta = 10"),
        (GIVEN, {"points": POINTS[[0, 0, 1, 2, 3, 4, 5, 6]]}, "each point once"),
        (GIVEN, {"points": POINTS[:3]}, "points: expected at least 4, found 3"),
        (GIVEN, {"points": np.array(["a"] * 8)}, "points: expected real numbers"),
        (GIVEN, {"values": GIVEN["values"].real}, "values: expected complex numbers for fermionic_matsubara"),
        (GIVEN, {"values": GIVEN["values"][:5]}, "values: expected 8 numbers, as many as points"),
        (GIVEN, {"values": np.full(8, np.nan + 0j)}, "values: expected finite numbers, found"),
        (GIVEN, {"errors": np.r_[np.ones(7), 0]}, "errors: expected positive standard deviations, found 0"),
        (GIVEN, {"errors": np.ones(7)}, "errors: expected 8, as many as points"),
        (GIVEN, {"errors": None}, "estimate them over bins of the data"),
        (GIVEN, {"covariance": NEGATIVE}, "covariance: expected a positive definite matrix"),
        (GIVEN, {"covariance": np.triu(np.ones((8, 8)))}, "covariance: expected a symmetric matrix"),
        (GIVEN, {"covariance": np.eye(5)}, r"covariance: expected real numbers \[8, 8\] or \[16, 16\]"),
        (TIMES, {"points": TIMES["points"] + 1}, r"imaginary times in 0 .. beta = 10, found 11"),
        (TIMES, {"values": np.full(8, 0.5)}, "G\\(tau\\) .* is negative, found positive ones; give -values"),
        (TIMES, {"values": np.full(8, -0.5 + 0.1j)}, "imaginary parts that are not 0"),
        (TIMES, {"kernel": "bosonic_matsubara", "points": POINTS}, "is no bosonic Matsubara frequency"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(base, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        GreensFunction(**{**base, **change})
    assert "\n" not in str(caught.value)


def test_a_covariance_stands_for_the_errors():
    green = GreensFunction(**{**GIVEN, "errors": None, "covariance": np.diag(np.arange(1.0, 9.0) ** 2)})
    assert green.errors.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("omega", "settings", "message"),
    [
        ([0, 1], {}, "omega: expected at least 8 frequencies"),
        (np.zeros(9), {}, "omega: expected finite frequencies that rise"),
        (linear_grid(-2, 2, 9), {"method": "pade"}, "expected a method out of learned, maxent"),
        (linear_grid(-2, 2, 9), {"alpha_rule": "best"}, "expected a rule for alpha out of chi2kink"),
        (linear_grid(-2, 2, 9), {"norm": -1}, "norm: expected a positive number, found -1"),
    ],
)
def test_a_grid_or_setting_that_does_not_fit_is_refused(omega, settings, message):
    with pytest.raises(ValueError, match=message):
        continue_spectrum(GreensFunction(**GIVEN), omega, **settings)


def test_spectra_of_bosons_are_asked_for_on_one_side():
    points = np.pi / BETA * 2 * np.arange(8)
    green = GreensFunction(points, 1 / (1 + points**2), np.full(8, 1e-3), "bosonic_matsubara", BETA)
    with pytest.raises(ValueError, match="even, expected frequencies from 0 on, found -2"):
        continue_spectrum(green, linear_grid(-2, 2, 9))


def test_values_of_the_other_sign_are_refused_by_their_norm():
    green = GreensFunction(**{**GIVEN, "values": -GIVEN["values"]})
    with pytest.raises(ValueError, match="no spectrum above 0 in this window fits them"):
        continue_spectrum(green, linear_grid(-4, 4, 41), "maxent")


@pytest.mark.parametrize("grid", [linear_grid(-3, 5, 41), centred_grid(-3, 5, 41)])
def test_grids_rise_from_their_first_to_their_last_frequency(grid):
    assert (grid[0], grid[-1], len(grid)) == (-3, 5, 41)
    assert (np.diff(grid) > 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: linear_grid(1, 1, 9), "a minimum below the maximum"),
        (lambda: linear_grid(-1, 1, 3), "at least 8 points"),
        (lambda: centred_grid(1, 2, 9), "a window that holds 0"),
        (lambda: centred_grid(-1, 2, 9, density=1), "a density above 1"),
    ],
)
def test_what_is_no_grid_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
