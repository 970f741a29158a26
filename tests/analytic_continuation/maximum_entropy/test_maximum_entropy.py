"""Maximum entropy: its conditions of optimality, another solver, limits, and rules for alpha."""

import numpy as np
import pytest
from scipy.optimize import minimize

from analytic_continuation import GreensFunction, Kernel, continue_spectrum, linear_grid
from analytic_continuation.grids import weights
from analytic_continuation.maximum_entropy.alpha import maximum_entropy
from analytic_continuation.maximum_entropy.solver import solve_entropy
from analytic_continuation.whitening import whitened

BETA = 10.0
POINTS = np.pi / BETA * (2 * np.arange(16) + 1)
GRID = linear_grid(-6, 6, 121)


def gaussians(omega):
    def peak(centre, width):
        return np.exp(-0.5 * ((omega - centre) / width) ** 2) / width / np.sqrt(2 * np.pi)

    return 0.6 * peak(1.0, 0.7) + 0.4 * peak(-2.0, 0.9)


def measured(noise, seed=0):
    generator = np.random.default_rng(seed)
    exact = Kernel.FERMIONIC_MATSUBARA.matrix(POINTS, GRID, BETA) @ (gaussians(GRID) * weights(GRID))
    values = exact + noise * (generator.normal(size=16) + 1j * generator.normal(size=16))
    return GreensFunction(POINTS, values, np.full(16, noise), "fermionic_matsubara", BETA)


@pytest.fixture(scope="module")
def flat():
    return weights(GRID) / 12


@pytest.mark.parametrize(("noise", "alpha"), [(1e-2, 1e3), (1e-2, 1.0), (1e-6, 1e2), (1e-6, 1.0)])
def test_the_solution_is_stationary(flat, noise, alpha):
    """The gradient of chi^2 / 2 - alpha S in the cells is K^T (K a - G) + alpha log(a / default)."""
    problem = whitened(measured(noise), GRID)
    found = solve_entropy(problem, flat, alpha)
    matrix = problem.singular[:, None] * problem.right
    pull = matrix.T @ (matrix @ found.cells - problem.data)
    there = found.cells > 1e-6 * found.cells.max()  # elsewhere nothing depends on how small it is
    wanted = -alpha * np.log(found.cells / flat)
    rounding = 20 * np.finfo(np.float64).eps * problem.singular[0] ** 2
    np.testing.assert_allclose(pull[there], wanted[there], rtol=1e-6, atol=1e-6 * np.abs(wanted).max() + rounding)


def test_another_solver_of_the_same_problem_agrees(flat):
    problem, alpha = whitened(measured(1e-2), GRID), 5.0
    found = solve_entropy(problem, flat, alpha)

    def objective(logarithm):
        cells = flat * np.exp(logarithm)
        entropy = np.sum(cells - flat - cells * logarithm)
        residual = problem.singular * (problem.right @ cells) - problem.data
        gradient = cells * ((problem.singular * residual) @ problem.right + alpha * logarithm)
        return 0.5 * np.sum(residual**2) - alpha * entropy, gradient

    other = minimize(objective, np.zeros(121), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-15})
    ours = 0.5 * (found.chi_squared - problem.outside) - alpha * found.entropy
    assert ours <= other.fun + 1e-7 * abs(other.fun)
    np.testing.assert_allclose(flat * np.exp(other.x), found.cells, atol=2e-3 * found.cells.max())


def test_much_entropy_leaves_the_default_model_and_little_fits_the_data(flat):
    problem = whitened(measured(1e-3), GRID)
    np.testing.assert_allclose(solve_entropy(problem, flat, 1e12).cells, flat, rtol=1e-4)
    curve = [solve_entropy(problem, flat, 10.0**power).chi_squared for power in (4, 2, 0, -2)]
    assert curve == sorted(curve, reverse=True)


@pytest.mark.parametrize("noise", [1e-2, 1e-4])
def test_the_historic_rule_gives_as_much_chi_squared_as_data(flat, noise):
    problem = whitened(measured(noise), GRID)
    assert maximum_entropy(problem, flat, "historic").chi_squared == pytest.approx(32, rel=0.01)


def test_the_classic_rule_balances_entropy_and_good_data(flat):
    found = maximum_entropy(whitened(measured(1e-3), GRID), flat, "classic")
    assert -2 * found.alpha * found.entropy == pytest.approx(found.good, rel=0.02)


@pytest.mark.parametrize("rule", ["chi2kink", "classic", "historic"])
def test_every_rule_comes_near_the_spectrum_from_precise_data(rule):
    found = continue_spectrum(measured(1e-5), GRID, "maxent", norm=1.0, alpha_rule=rule)
    assert np.sum(np.abs(found.values - gaussians(GRID)) * weights(GRID)) < 0.15
    assert found.norm == pytest.approx(1, abs=1e-3)
    assert found.values.min() >= 0
    assert found.details["alpha_rule"] == rule


def test_a_permutation_of_the_data_changes_nothing_and_a_factor_scales_the_spectrum():
    green = measured(1e-3)
    order = np.random.default_rng(1).permutation(16)
    first = continue_spectrum(green, GRID, "maxent")
    permuted = GreensFunction(green.points[order], green.values[order], green.errors, green.kernel, BETA)
    scaled = GreensFunction(green.points, 7 * green.values, 7 * green.errors, green.kernel, BETA)
    np.testing.assert_allclose(continue_spectrum(permuted, GRID, "maxent").values, first.values, atol=1e-5)
    np.testing.assert_allclose(continue_spectrum(scaled, GRID, "maxent").values / 7, first.values, atol=1e-5)


def test_a_covariance_without_correlations_is_the_errors_and_others_matter():
    green = measured(1e-3)
    errors = 1e-3 * np.linspace(1, 2, 16)
    alone = GreensFunction(POINTS, green.values, errors, green.kernel, BETA)
    same = GreensFunction(POINTS, green.values, None, green.kernel, BETA, covariance=np.diag(errors**2))
    both = GreensFunction(POINTS, green.values, None, green.kernel, BETA, covariance=np.diag(np.tile(errors, 2) ** 2))
    mixed = np.diag(errors**2) + 5e-7
    other = GreensFunction(POINTS, green.values, None, green.kernel, BETA, covariance=mixed)
    first, *same_ones, different = (
        continue_spectrum(each, GRID, "maxent", norm=1.0).values for each in (alone, same, both, other)
    )
    for found in same_ones:
        np.testing.assert_allclose(found, first, atol=1e-5)
    assert np.abs(different - first).max() > 1e-3
