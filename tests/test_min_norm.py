"""Laws of the min-norm point on thousands of degenerate instances, then scipy as an oracle, then exact rationals."""

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from mgda import MinNormSolution, min_norm
from mgda.min_norm import _lengths_and_cosines, _norm, _violations, _wolfe

CASES = json.loads((Path(__file__).parent / "data" / "min_norm_cases.json").read_text())["cases"]
DEGENERACIES = (
    "duplicate",
    "parallel",
    "opposite",
    "almost parallel",
    "almost opposite",
    "stationary",
    "zero",
    "low rank",
)

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


def uniform(low: float, high: float, generator: torch.Generator, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)


def integer(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=generator))


def degrade(jacobian: Tensor, degeneracy: str, generator: torch.Generator) -> Tensor:
    """Make one row depend on another, or on all of them."""
    m, n = jacobian.shape
    i, j = integer(0, m - 1, generator), integer(0, m - 1, generator)
    noise = 10.0 ** -integer(1, 16, generator) * torch.randn(n, generator=generator, dtype=torch.float64)
    rows = jacobian.clone()
    others = uniform(0, 1, generator, m).index_fill(0, torch.tensor(i), 0)
    match degeneracy:
        case "low rank":
            return uniform(-1, 1, generator, m, 1 + m // 2) @ uniform(-1, 1, generator, 1 + m // 2, n)
        case "stationary":
            rows[i] = -others @ jacobian
        case _:
            rows[i] = {
                "duplicate": jacobian[j],
                "parallel": 3.7 * jacobian[j],
                "opposite": -0.3 * jacobian[j],
                "almost parallel": jacobian[j] + noise,
                "almost opposite": noise - jacobian[j],
                "zero": 0 * jacobian[j],
            }[degeneracy]
    return rows


def random_jacobian(m: int, n: int, generator: torch.Generator) -> Tensor:
    """Gaussian or small integer rows, up to three degeneracies, lengths from 1e-12 to 1e12, of each or of all."""
    jacobian = torch.randn(m, n, generator=generator, dtype=torch.float64)
    if integer(0, 3, generator) == 0:
        jacobian = (2 * jacobian).round()
    for _ in range(integer(0, 3, generator)):
        jacobian = degrade(jacobian, DEGENERACIES[integer(0, len(DEGENERACIES) - 1, generator)], generator)
    rows = (0, 1, m)[integer(0, 2, generator)]
    return jacobian * 10 ** uniform(-12, 12, generator, rows, 1) if rows else jacobian


def solve(jacobian: Tensor) -> Instance:
    return Instance(jacobian, min_norm(jacobian @ jacobian.T))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def instances() -> list[Instance]:
    generator = seeded(0)
    sizes = [(integer(1, 8, generator), integer(1, 20, generator)) for _ in range(2000)]
    return [solve(random_jacobian(m, n, generator)) for m, n in sizes]


@pytest.fixture(scope="module")
def large_instances() -> list[Instance]:
    generator = seeded(1)
    sizes = [(integer(9, 40, generator), integer(1, 60, generator)) for _ in range(300)]
    return [solve(random_jacobian(m, n, generator)) for m, n in sizes]


def residual_from_rows(instance: Instance) -> float:
    """The definition in `min_norm`, from the gradients themselves."""
    t, direction = instance.mean_length, instance.direction
    if t == 0:
        return 0.0
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


def test_weights_lie_on_the_simplex(instances: list[Instance], large_instances: list[Instance]) -> None:
    for instance in instances + large_instances:
        weights = instance.solution.weights
        assert weights.dtype == torch.float64
        assert weights.shape == (len(instance.jacobian),)
        assert (weights >= 0).all()
        assert abs(float(weights.sum()) - 1) < 1e-14


def test_residual_falls_to_the_rounding_error(instances: list[Instance]) -> None:
    assert max(instance.solution.residual for instance in instances) <= EXACT_RESIDUAL


def test_residual_is_that_of_its_definition(instances: list[Instance], large_instances: list[Instance]) -> None:
    for instance in instances + large_instances:
        assert instance.solution.residual == pytest.approx(residual_from_rows(instance), abs=2e-15)


def test_squared_norm_is_that_of_the_weighted_sum(instances: list[Instance], large_instances: list[Instance]) -> None:
    for instance in instances + large_instances:
        expected = float(instance.direction @ instance.direction)
        assert instance.solution.squared_norm == pytest.approx(expected, rel=1e-9, abs=2e-14 * instance.mean_length**2)


def test_no_objective_ascends(instances: list[Instance], large_instances: list[Instance]) -> None:
    descending = [i for i in instances + large_instances if i.solution.squared_norm > 0]
    assert len(descending) > 1000
    for instance in descending:
        slopes = instance.jacobian @ instance.direction
        assert (slopes >= -1e-13 * instance.lengths * instance.mean_length).all()


def test_every_weighted_objective_descends_alike(instances: list[Instance]) -> None:
    for instance in instances:
        slopes = instance.jacobian @ instance.direction
        t, weights = instance.mean_length, instance.solution.weights
        gaps = weights * (slopes - instance.direction @ instance.direction)
        assert (gaps.abs() <= 1e-13 * t**2).all()


def test_permuting_objectives_permutes_the_solution(instances: list[Instance]) -> None:
    generator = seeded(2)
    for instance in instances[::4]:
        order = torch.randperm(len(instance.jacobian), generator=generator)
        permuted = solve(instance.jacobian[order])
        mean_length = max(permuted.mean_length, instance.mean_length)
        assert (permuted.direction - instance.direction).norm() <= DIRECTION_ERROR * mean_length
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
        assert (scaled.direction / scale - instance.direction).norm() <= DIRECTION_ERROR * instance.mean_length


def test_two_objectives_follow_the_closed_form() -> None:
    generator = seeded(3)
    for _ in range(300):
        scales = 10 ** uniform(-12, 12, generator, 2, 1)
        x, y = scales * torch.randn(2, 5, generator=generator, dtype=torch.float64)
        to_y = float((x @ (x - y) / ((x - y) @ (x - y))).clamp(0, 1))  # Sener & Koltun 2018, eq. 6
        to_x = float((y @ (y - x) / ((x - y) @ (x - y))).clamp(0, 1))
        weights = min_norm(torch.stack([x, y]) @ torch.stack([x, y]).T).weights
        assert weights.tolist() == pytest.approx([to_x, to_y], rel=1e-11, abs=0)


def test_one_objective_takes_all_weight() -> None:
    solution = min_norm(torch.tensor([[4.0]]))
    assert (solution.weights.tolist(), solution.squared_norm, solution.residual) == ([1.0], 4.0, 0.0)


@pytest.mark.parametrize("m", [2, 8, 9, 20])
def test_a_zero_gradient_takes_all_weight(m: int) -> None:
    jacobian = torch.randn(m, 5, generator=seeded(4), dtype=torch.float64).index_fill(0, torch.tensor(1), 0)
    solution = solve(jacobian).solution
    assert solution.weights.tolist() == [float(i == 1) for i in range(m)]
    assert (solution.squared_norm, solution.residual) == (0.0, 0.0)


@pytest.mark.parametrize("m", [2, 5, 8, 9, 30])
def test_a_pareto_stationary_point_has_norm_exactly_zero(m: int) -> None:
    generator = seeded(5)
    for _ in range(50):
        rows = torch.randn(m - 1, 40, generator=generator, dtype=torch.float64)
        opposing = -uniform(0.1, 1, generator, m - 1) @ rows
        assert solve(torch.vstack([rows, opposing])).solution.squared_norm == 0.0


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
        assert _violations(weights, *factors).max() <= 1e-13
        (t, relative_norm), (t_exact, relative_norm_exact) = (
            _norm(weights, *factors),
            _norm(instance.solution.weights, *factors),
        )
        assert t * relative_norm.clamp(min=0).sqrt() <= t_exact * (relative_norm_exact.clamp(min=0) + 1e-12).sqrt()


def test_iterations_reach_rounding_where_asked() -> None:
    generator = seeded(8)
    for _ in range(20):
        jacobian = random_jacobian(12, 10, generator)
        assert min_norm(jacobian @ jacobian.T, tolerance=2e-15, max_iterations=100).residual <= 2e-15


def test_many_objectives_are_solved_to_the_tolerance(large_instances: list[Instance]) -> None:
    assert max(instance.solution.residual for instance in large_instances) <= 1e-13


def test_stopping_early_shows_in_the_residual() -> None:
    jacobian = torch.randn(30, 40, generator=seeded(6), dtype=torch.float64)
    gramian = jacobian @ jacobian.T
    residuals = [min_norm(gramian, max_iterations=steps).residual for steps in range(40)]
    assert residuals == sorted(residuals, reverse=True)
    assert residuals[8] > 1e-3
    assert residuals[-1] <= 1e-13
    assert 1e-13 < min_norm(gramian, tolerance=1e-2).residual <= 1e-2


@pytest.mark.parametrize("dtype", [torch.int64, torch.bfloat16, torch.float16, torch.float32])
def test_gramians_of_any_dtype_are_solved_in_float64(dtype: torch.dtype) -> None:
    gramian = torch.tensor([[2, 1], [1, 3]], dtype=dtype)
    solution = min_norm(gramian)
    assert solution.weights.tolist() == pytest.approx([2 / 3, 1 / 3], rel=1e-15)
    assert solution.squared_norm == pytest.approx(5 / 3, rel=1e-15)


def test_a_gramian_rounded_to_bfloat16_is_accepted() -> None:
    jacobian = torch.randn(8, 4, generator=seeded(7)).bfloat16()
    assert min_norm(jacobian @ jacobian.T).residual < 1e-2


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e300])
def test_extreme_gramians_give_no_nan(scale: float) -> None:
    solution = min_norm(scale * torch.tensor([[2, 1], [1, 3]], dtype=torch.float64))
    assert solution.weights.tolist() == pytest.approx([2 / 3, 1 / 3], rel=1e-6)
    assert solution.squared_norm == pytest.approx(scale * 5 / 3, rel=1e-6)


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
