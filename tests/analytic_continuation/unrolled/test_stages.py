"""A stage solves its convex problem exactly, and the problem is well conditioned whatever the kernel."""

import numpy as np
import pytest
import torch

from analytic_continuation import GreensFunction, Kernel
from analytic_continuation.unrolled.problems import dimensionless
from analytic_continuation.unrolled.stages import capped, condition_number, solve_stage
from analytic_continuation.unrolled.window import NODES, STEP, Window, nodes

BETA, COUNT = 10.0, 64


def problem(noise):
    points = np.pi / BETA * (2 * np.arange(COUNT) + 1)
    window = Window(0.0, 8.0, is_even=False)
    values = 1 / (1j * points - 1)
    green = GreensFunction(points, values, np.full(COUNT, noise), "fermionic_matsubara", BETA)
    return dimensionless([green], window, np.ones(1), is_known=False)


@pytest.mark.parametrize(("noise", "rho"), [(1e-1, 1.0), (1e-3, 10.0), (1e-6, 1e5)])
def test_a_stage_is_the_solution_of_its_linear_equations(noise, rho):
    found = problem(noise)
    kept = found.singular > 1e-3
    singular, right = torch.tensor(found.singular[kept])[None], torch.tensor(found.right[kept])
    coefficients = torch.tensor(found.data[kept, 0] / found.singular[kept])[None]
    start, rho = torch.rand(1, NODES, dtype=torch.float64), torch.tensor([[rho]], dtype=torch.float64)
    # in the variables sqrt(step) x, whose sums of squares are integrals
    kernel = capped(singular, rho)[0][:, None] * right
    target = capped(singular, rho)[0] * coefficients[0]
    matrix = kernel.T @ kernel + rho * torch.eye(NODES, dtype=torch.float64)
    exact = torch.linalg.solve(matrix, kernel.T @ target + rho[0] * start[0] * STEP**0.5) / STEP**0.5
    solved = solve_stage(start, rho, singular, right, coefficients)[0]
    torch.testing.assert_close(solved, exact, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("rho", [1e-3, 1.0, 1e4])
def test_no_stage_is_worse_conditioned_than_a_million_where_the_kernel_is_beyond_double_precision(noise, rho):
    found = problem(noise)
    assert found.condition > 1e15  # as far as double precision tells
    capped_ones = capped(torch.tensor(found.singular)[None], torch.tensor([[rho]], dtype=torch.float64))[0]
    matrix = (capped_ones[:, None] * torch.tensor(found.right)).T @ (capped_ones[:, None] * torch.tensor(found.right))
    values = torch.linalg.eigvalsh(matrix + rho * torch.eye(NODES, dtype=torch.float64))
    told = condition_number(rho, float(found.singular[0]))
    assert told <= 1e6
    assert float(values[-1] / values[0]) == pytest.approx(told, rel=1e-6)


@pytest.mark.parametrize("kernel", list(Kernel))
def test_the_dimensionless_problem_knows_no_units(kernel):
    """Frequencies times c, beta over c and values as they transform give the same singular values and data."""
    factor = 3.0
    problems = []
    for scale in (1.0, factor):
        beta = BETA / scale
        odd = 0 if kernel.is_bosonic else 1
        points = np.linspace(0, beta, 12) if kernel.is_in_time else np.pi / beta * (2 * np.arange(12) + odd)
        window = Window(0.0, 8.0 * scale, kernel.is_bosonic)
        density = np.exp(-0.5 * (nodes() / 0.2) ** 2)
        values = kernel.matrix(points, window.frequencies(nodes()), beta) @ density * STEP
        errors = 1e-3 * np.abs(values)
        green = GreensFunction(points, values, errors, kernel, beta)
        problems.append(dimensionless([green], window, np.ones(1), is_known=False))
    first, second = problems
    leading = first.singular > 1e-8 * first.singular[0]
    np.testing.assert_allclose(second.singular[leading], first.singular[leading], rtol=1e-6)
    assert np.sum(second.data**2) == pytest.approx(np.sum(first.data**2))
