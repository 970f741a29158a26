"""Laws of the min-norm point on hundreds of degenerate instances, then scipy as an oracle, then exact rationals."""

import json
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from mgda import MinNormSolution, min_norm
from mgda.min_norm_solver import _lengths_and_cosines, _violations, _wolfe
from tests.support.scripts import ROOT

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]

CASES = json.loads((ROOT / "tests/data/min_norm_cases.json").read_text())["cases"]
# The solver takes any certificate of at most 8 roundings, and finds one of at most 3 on each of 40,000 such instances:
# the residual is a sum of up to 8 products of numbers of at most 1, so nothing smaller can be told from 0.
EXACT_RESIDUAL = 8 * torch.finfo(torch.float64).eps
# The squared norm is known to 64 roundings of t^2, so the direction to their root where gradients almost depend on one
# another (measured: 7e-9 t).
DIRECTION_ERROR = 1.2e-7


@dataclass(frozen=True, eq=False)
class Instance:
    jacobian: Tensor
    solution: MinNormSolution

    @property
    def lengths(self) -> Tensor:
        return self.jacobian.norm(dim=1)

    @property
    def mean_length(self) -> float:
        return float(self.solution.weights @ self.lengths)

    @property
    def direction(self) -> Tensor:
        return self.solution.weights @ self.jacobian


def degrade(rows: Matrix, rng: np.random.Generator) -> Matrix:
    """Make one row depend on another, or on all of them."""
    m, n = rows.shape
    i, j = rng.integers(m, size=2)
    noise = 10.0 ** -rng.integers(1, 17) * rng.standard_normal(n)
    duplicate, zero = rows[j], 0 * rows[j]
    parallel, opposite = 3.7 * rows[j], -0.3 * rows[j]
    almost_parallel, almost_opposite = rows[j] + noise, noise - rows[j]
    inside_the_hull, stationary = rng.dirichlet(np.ones(m)) @ rows, -rng.uniform(size=m - 1) @ np.delete(rows, i, 0)
    choices = duplicate, zero, parallel, opposite, almost_parallel, almost_opposite, inside_the_hull, stationary
    return np.vstack([rows[:i], choices[rng.integers(len(choices))], rows[i + 1 :]])


def random_jacobian(m: int, n: int, rng: np.random.Generator) -> Tensor:
    """Gaussian or small integer rows, up to three degeneracies, lengths from 1e-12 to 1e12, of each or of all."""
    rows = rng.standard_normal((m, n))
    if rng.integers(4) == 0:
        rows = np.round(2 * rows)
    for _ in range(rng.integers(4)):
        rows = degrade(rows, rng)
    scaled = rng.choice([0, 1, m])
    return torch.from_numpy(rows * 10 ** rng.uniform(-12, 12, size=(scaled, 1)) if scaled else rows)


def solve(jacobian: Tensor) -> Instance:
    return Instance(jacobian, min_norm(jacobian @ jacobian.T))


@pytest.fixture(scope="module")
def instances() -> list[Instance]:
    rng = np.random.default_rng(0)
    return [solve(random_jacobian(rng.integers(1, 9), rng.integers(1, 21), rng)) for _ in range(800)]


@pytest.fixture(scope="module")
def large_instances() -> list[Instance]:
    rng = np.random.default_rng(1)
    return [solve(random_jacobian(rng.integers(9, 41), rng.integers(1, 61), rng)) for _ in range(120)]


def residual_from_rows(instance: Instance) -> float:
    """The definition in `min_norm`, from the gradients themselves."""
    t, direction = instance.mean_length or 1.0, instance.direction
    violations = (direction @ direction - instance.jacobian @ direction) / (t * (t + instance.lengths))
    return max(0.0, float(violations.max()))


def oracle(jacobian: Tensor) -> tuple[float, float]:
    """Norm and mean length at the min-norm point by scipy.

    NNLS on [U^T; 1/d] y = [0; 1] with U the rows scaled to length 1: its solution is a multiple of D w.
    """
    lengths = jacobian.norm(dim=1)
    inverse_lengths = (lengths.min() / lengths).numpy()
    system = np.vstack([(jacobian / lengths[:, None]).T.numpy(), inverse_lengths])
    lengthwise, _ = scipy.optimize.nnls(system, np.append(np.zeros(jacobian.shape[1]), 1.0), maxiter=1000)
    weights = lengthwise * inverse_lengths / (lengthwise @ inverse_lengths)
    return float(np.linalg.norm(weights @ jacobian.numpy())), float(weights @ lengths.numpy())


def assert_same_direction(one: Instance, other: Instance) -> None:
    assert (one.direction - other.direction).norm() <= DIRECTION_ERROR * max(one.mean_length, other.mean_length)


def test_weights_lie_on_the_simplex(instances: list[Instance], large_instances: list[Instance]) -> None:
    for weights, jacobian in [(i.solution.weights, i.jacobian) for i in instances + large_instances]:
        assert (weights.dtype, weights.shape) == (torch.float64, jacobian.shape[:1])
        assert (weights >= 0).all()
        assert abs(float(weights.sum()) - 1) < 1e-14


def test_residuals_are_rounding_or_tolerated(instances: list[Instance], large_instances: list[Instance]) -> None:
    assert max(instance.solution.residual for instance in instances) <= EXACT_RESIDUAL
    assert max(instance.solution.residual for instance in large_instances) <= 1e-13


def test_residual_is_that_of_its_definition(instances: list[Instance], large_instances: list[Instance]) -> None:
    for instance in instances + large_instances:
        assert instance.solution.residual == pytest.approx(residual_from_rows(instance), abs=2e-15)


def test_squared_norm_is_that_of_the_weighted_sum(instances: list[Instance], large_instances: list[Instance]) -> None:
    for instance in instances + large_instances:
        expected = float(instance.direction @ instance.direction)
        assert instance.solution.squared_norm == pytest.approx(expected, rel=1e-9, abs=2e-14 * instance.mean_length**2)


def test_no_objective_ascends(instances: list[Instance], large_instances: list[Instance]) -> None:
    descending = [i for i in instances + large_instances if i.solution.squared_norm > 0]
    assert len(descending) > 400
    for instance in descending:
        slopes = instance.jacobian @ instance.direction
        assert (slopes >= -1e-13 * instance.lengths * instance.mean_length).all()


def test_permuting_objectives_permutes_the_solution(instances: list[Instance]) -> None:
    rng = np.random.default_rng(2)
    for instance in instances[::4]:
        order = torch.from_numpy(rng.permutation(len(instance.jacobian)))
        permuted = solve(instance.jacobian[order])
        assert_same_direction(permuted, instance)
        assert permuted.solution.residual <= EXACT_RESIDUAL


@pytest.mark.parametrize("exponent", [-80, -20, 1, 40, 80])
def test_a_common_power_of_two_changes_no_bit(instances: list[Instance], exponent: int) -> None:
    for instance in instances[::20]:
        scaled = solve(2.0**exponent * instance.jacobian).solution
        assert torch.equal(scaled.weights, instance.solution.weights)
        assert scaled.residual == instance.solution.residual
        assert scaled.squared_norm == 4.0**exponent * instance.solution.squared_norm


@pytest.mark.parametrize("scale", [1e-12, 1e-5, 3.0, 1e12])
def test_a_common_scale_scales_the_direction(instances: list[Instance], scale: float) -> None:
    for instance in instances[::10]:
        scaled = solve(scale * instance.jacobian)
        assert_same_direction(Instance(scaled.jacobian / scale, scaled.solution), instance)


def test_two_objectives_follow_the_closed_form() -> None:
    rng = np.random.default_rng(3)
    for _ in range(150):
        x, y = rows = 10 ** rng.uniform(-12, 12, size=(2, 1)) * rng.standard_normal((2, 5))
        to_y = np.clip(x @ (x - y) / ((x - y) @ (x - y)), 0, 1)  # Sener & Koltun 2018, eq. 6
        to_x = np.clip(y @ (y - x) / ((x - y) @ (x - y)), 0, 1)
        weights = min_norm(torch.from_numpy(rows @ rows.T)).weights
        assert weights.tolist() == pytest.approx([to_x, to_y], rel=1e-11, abs=0)


def test_one_objective_takes_all_weight() -> None:
    solution = min_norm(torch.tensor([[4.0]]))
    assert (solution.weights.tolist(), solution.squared_norm, solution.residual) == ([1.0], 4.0, 0.0)


@pytest.mark.parametrize("m", [2, 8, 9, 20])
def test_a_zero_gradient_takes_all_weight(m: int) -> None:
    rows = np.random.default_rng(4).standard_normal((m, 5))
    rows[1] = 0
    solution = solve(torch.from_numpy(rows)).solution
    assert solution.weights.tolist() == [float(i == 1) for i in range(m)]
    assert (solution.squared_norm, solution.residual) == (0.0, 0.0)


@pytest.mark.parametrize("m", [2, 5, 8, 9, 30])
def test_a_pareto_stationary_point_has_norm_exactly_zero(m: int) -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        rows = rng.standard_normal((m - 1, 40))
        opposing = -rng.uniform(0.1, 1, size=m - 1) @ rows
        assert solve(torch.from_numpy(np.vstack([rows, opposing]))).solution.squared_norm == 0.0


@pytest.mark.parametrize("angle", [1e-2, 1e-4, 1e-6])
def test_an_almost_stationary_point_is_not_called_stationary(angle: float) -> None:
    solution = solve(torch.tensor([[1, angle], [-3, 3 * angle]], dtype=torch.float64)).solution
    assert solution.weights.tolist() == pytest.approx([0.75, 0.25], rel=1e-3)
    assert solution.squared_norm == pytest.approx(2.25 * angle**2, rel=1e-3)


def test_long_opposite_gradients_do_not_hide_a_short_one() -> None:
    # Float64 cannot say whether the long pair cancels to less than the short one, which is safe to follow.
    jacobian = torch.tensor([[1e10, 0], [-1e10, 0], [1e-3, 1e-6]], dtype=torch.float64)
    assert solve(jacobian).direction.tolist() == pytest.approx([0, 1e-6], abs=1e-12)


def test_scipy_finds_no_shorter_vector(instances: list[Instance], large_instances: list[Instance]) -> None:
    for instance in instances + large_instances:
        if instance.lengths.all():
            norm, mean_length = oracle(instance.jacobian)
            assert float(instance.direction.norm()) <= (1 + 1e-6) * norm + DIRECTION_ERROR * mean_length


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_exact_rational_cases_are_met(case: dict[str, list[str]]) -> None:
    def exact(values: list[str]) -> Tensor:
        return torch.tensor([float(Fraction(value)) for value in values], dtype=torch.float64)

    instance = solve(torch.tensor(case["gradients"], dtype=torch.float64))
    assert instance.solution.squared_norm == pytest.approx(float(Fraction(str(case["min_squared_norm"]))), rel=1e-13)
    torch.testing.assert_close(instance.direction, exact(case["direction"]), rtol=1e-13, atol=1e-13)
    affine = torch.cat([instance.jacobian, torch.ones(len(instance.jacobian), 1).double()], 1)
    if torch.linalg.matrix_rank(affine) == len(affine):  # affinely independent: only one set of weights
        torch.testing.assert_close(instance.solution.weights, exact(case["weights"]), rtol=1e-13, atol=1e-13)


def test_iterations_end_where_enumeration_does(instances: list[Instance]) -> None:
    for instance in instances:
        if not instance.lengths.all():
            continue
        factors = _lengths_and_cosines(instance.jacobian @ instance.jacobian.T)
        weights = _wolfe(*factors, tolerance=1e-13, max_iterations=100)
        iterated = Instance(instance.jacobian, MinNormSolution(weights, 0, float(_violations(weights, *factors).max())))
        assert iterated.solution.residual <= 1e-13
        error = 1e-6 * max(iterated.mean_length, instance.mean_length)
        assert iterated.direction.norm() <= instance.direction.norm() + error


@pytest.mark.parametrize("seed", range(6))
def test_iterations_reach_rounding_among_dependent_gradients(seed: int) -> None:
    long, short = np.random.default_rng(seed).standard_normal((2, 20))
    rows = np.stack([1e-9 * short] + [scale * long for scale in (1, -1.7, 0.3, -2.9, 1.3, -0.7, 2.3, -0.11)])
    assert min_norm(torch.from_numpy(rows @ rows.T), tolerance=0, max_iterations=50).residual <= 2e-15


def test_stopping_early_shows_in_the_residual() -> None:
    rows = np.random.default_rng(6).standard_normal((30, 40))
    gramian = torch.from_numpy(rows @ rows.T)
    residuals = [min_norm(gramian, max_iterations=steps).residual for steps in range(40)]
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[8] > 1e-3
    assert residuals[-1] <= 1e-13
    assert min_norm(gramian, tolerance=1e-2).residual <= 1e-2
    assert min_norm(gramian, tolerance=1).weights.max() == 1  # any vertex will do


@pytest.mark.parametrize("dtype", [torch.int64, torch.bfloat16, torch.float16, torch.float32])
def test_gramians_of_any_dtype_are_solved_in_float64(dtype: torch.dtype) -> None:
    solution = min_norm(torch.tensor([[2, 1], [1, 3]], dtype=dtype))
    assert (*solution.weights.tolist(), solution.squared_norm) == pytest.approx((2 / 3, 1 / 3, 5 / 3), rel=1e-15)


def test_a_gramian_rounded_to_bfloat16_is_accepted() -> None:
    jacobian = torch.from_numpy(np.random.default_rng(7).standard_normal((8, 4))).bfloat16()
    assert min_norm(jacobian @ jacobian.T).residual < 1e-2


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e300])
def test_extreme_gramians_lose_no_digits(scale: float) -> None:
    solution = min_norm(scale * torch.tensor([[2, 1], [1, 3]], dtype=torch.float64))
    assert (*solution.weights.tolist(), solution.squared_norm / scale) == pytest.approx((2 / 3, 1 / 3, 5 / 3))


def test_a_gradient_whose_square_underflows_counts_as_zero() -> None:
    assert min_norm(torch.tensor([[0, 1e-25], [1e-25, 1]])).weights.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("gramian", "message"),
    [
        (torch.ones(2, 3), r"gramian \[m, m\].*found shape \[2, 3\]"),
        (torch.ones(3), r"found shape \[3\]"),
        (torch.ones(0, 0), r"found shape \[0, 0\]"),
        (torch.tensor([[1.0, torch.nan], [torch.nan, 1.0]]), "found 2 of 4 entries not finite"),
        (torch.tensor([[torch.inf]]), "found 1 of 1 entries not finite"),
        (torch.tensor([[1.0, 0.0], [0.0, -1.0]]), "squared lengths on the gramian's diagonal, found -1"),
        (torch.tensor([[1.0, 0.5], [0.4, 1.0]]), r"symmetric gramian, found .* differ by 0\.1"),
        (torch.tensor([[1.0, 2.0], [2.0, 1.0]]), "semidefinite gramian, found an eigenvalue of -1"),
        (1.9 * torch.eye(3) - 0.9, r"semidefinite gramian, found an eigenvalue of -0\.8"),
        (torch.tensor([[0.0, 1.0], [1.0, 1.0]]), "semidefinite"),
    ],
)
def test_what_is_no_gramian_is_refused(gramian: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        min_norm(gramian)
