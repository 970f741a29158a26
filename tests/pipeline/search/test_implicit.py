"""Implicit gradients, and the other orders beside them, on a problem with a closed form and on a supernet."""

from functools import partial

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from torch.nn import functional as F

from pipeline.search.hypergradient import (
    exact_product,
    finite_difference_product,
    first_order,
    implicit,
    moved,
    unrolled,
)
from pipeline.search.linear_solvers import conjugate_gradient, make_solver, neumann
from pipeline.settings import ImplicitSettings
from search_space import SearchSpace, Supernet

STEP = 0.05
SHAPES = [(2, 3), (4,)]


class Quadratic:
    """Inner: w.A w / 2 - w.B a, with minimiser A^-1 B a.  Outer: |C w - d|^2 / 2 + a.S a / 2.

    So the gradient of the outer loss at the minimiser is S a + B^T A^-1 C^T (C w - d), and elsewhere
    S a - M^T x with M = -B the mixed derivatives and x what the order makes of v = C^T (C w - d).
    """

    def __init__(self, at_minimum=True):
        rng = np.random.default_rng(0)
        basis, _ = np.linalg.qr(rng.standard_normal((10, 10)))
        self.eigenvalues = np.linspace(1, 8, 10)
        self.A = basis @ np.diag(self.eigenvalues) @ basis.T
        self.B, self.C = rng.standard_normal((10, 5)), rng.standard_normal((7, 10))
        self.d, self.S = rng.standard_normal(7), np.diag(rng.uniform(1, 2, 5))
        self.a = rng.standard_normal(5)
        self.w = np.linalg.solve(self.A, self.B @ self.a) if at_minimum else rng.standard_normal(10)
        self.v = self.C.T @ (self.C @ self.w - self.d)
        self.alphas = torch.from_numpy(self.a).requires_grad_()
        parts = torch.from_numpy(self.w).split([6, 4])
        self.weights = [part.view(shape).clone().requires_grad_() for part, shape in zip(parts, SHAPES, strict=True)]
        self.graphs = 0

    def flat(self):
        return torch.cat([weight.flatten() for weight in self.weights])

    def training_loss(self):
        self.graphs += 1
        w = self.flat()
        return w @ torch.from_numpy(self.A) @ w / 2 - w @ torch.from_numpy(self.B) @ self.alphas

    def outer_loss(self):
        rest = torch.from_numpy(self.C) @ self.flat() - torch.from_numpy(self.d)
        return rest @ rest / 2 + self.alphas @ torch.from_numpy(self.S) @ self.alphas / 2

    def outer_value(self, w, a):
        return np.sum((self.C @ w - self.d) ** 2) / 2 + a @ self.S @ a / 2

    def answer(self, x):
        """The gradient for a given x, about A^-1 v."""
        return self.S @ self.a + self.B.T @ x

    def implicit(self, solver, damping=0.0, product=exact_product):
        losses = {"outer": self.outer_loss}
        arguments = {"solver": solver, "damping": damping, "product": product, "reduce": list}
        return implicit(losses, self.training_loss, self.weights, self.alphas, **arguments)["outer"]


def central_difference(value, a, step=1e-5):
    """Gradient [n] of value(a)."""
    unit = step * np.eye(len(a))
    return np.array([(value(a + row) - value(a - row)) / (2 * step) for row in unit])


def test_first_order_is_the_derivative_at_fixed_weights():
    problem = Quadratic()
    found = first_order({"outer": problem.outer_loss}, problem.alphas, list, weights=problem.weights)["outer"]
    numerical = central_difference(lambda a: problem.outer_value(problem.w, a), problem.a)
    np.testing.assert_allclose(found.gradient.numpy(), problem.S @ problem.a, rtol=1e-14)
    np.testing.assert_allclose(found.gradient.numpy(), numerical, rtol=1e-8)


def test_unrolled_is_the_derivative_of_one_step():
    problem = Quadratic(at_minimum=False)
    drift = [0.3 * torch.ones_like(weight) for weight in problem.weights]
    found = unrolled(
        {"outer": problem.outer_loss},
        problem.training_loss,
        problem.weights,
        problem.alphas,
        step_size=STEP,
        drift=drift,
        product=exact_product,
        reduce=list,
    )["outer"]

    def stepped(a):
        return problem.outer_value(problem.w - STEP * (problem.A @ problem.w - problem.B @ a + 0.3), a)

    np.testing.assert_allclose(found.gradient.numpy(), central_difference(stepped, problem.a), rtol=1e-8)


@pytest.mark.parametrize("damping", [0.0, 2.0])
def test_conjugate_gradient_ends_at_the_exact_hypergradient(damping):
    problem = Quadratic()
    found = problem.implicit(partial(conjugate_gradient, iterations=10), damping)
    damped = problem.A + damping * np.eye(10)

    def at_the_minimum(a):  # of the inner loss + damping |w - w0|^2 / 2
        return problem.outer_value(np.linalg.solve(damped, problem.B @ a + damping * problem.w), a)

    np.testing.assert_allclose(found.gradient.numpy(), central_difference(at_the_minimum, problem.a), rtol=1e-7)
    expected = problem.answer(np.linalg.solve(damped, problem.v))
    np.testing.assert_allclose(found.gradient.numpy(), expected, rtol=1e-12)
    assert found.value.item() == pytest.approx(problem.outer_value(problem.w, problem.a), rel=1e-14)
    assert found.residual < 1e-12


def test_neumann_comes_nearer_by_the_slowest_eigenvalue_of_its_step():
    problem = Quadratic()
    exact = problem.answer(np.linalg.solve(problem.A, problem.v))
    slowest = max(abs(1 - 0.1 * problem.eigenvalues))
    scale = np.linalg.norm(problem.B, 2) * np.linalg.norm(problem.v) / problem.eigenvalues[0]
    for iterations in (1, 5, 20, 80):
        found = problem.implicit(partial(neumann, step_size=0.1, iterations=iterations))
        error = np.linalg.norm(found.gradient.numpy() - exact)
        assert error <= scale * slowest ** (iterations + 1)
        assert found.residual <= slowest**iterations
    assert error < 1e-2 * np.linalg.norm(exact)
    found = problem.implicit(partial(neumann, step_size=0.1, iterations=400))
    np.testing.assert_allclose(found.gradient.numpy(), exact, rtol=1e-12)


def test_neumann_is_the_derivative_of_that_many_steps_from_the_minimum():
    problem = Quadratic()  # Lorraine et al. 2020, theorem 1
    found = problem.implicit(partial(neumann, step_size=STEP, iterations=3))

    def after_four_steps(a):
        w = problem.w
        for _ in range(4):
            w = w - STEP * (problem.A @ w - problem.B @ a)
        return problem.outer_value(w, a)

    np.testing.assert_allclose(found.gradient.numpy(), central_difference(after_four_steps, problem.a), rtol=1e-8)


def test_one_graph_of_the_training_loss_serves_all_losses_and_iterations():
    problem = Quadratic()
    losses = {"once": problem.outer_loss, "twice": lambda: 2 * problem.outer_loss()}
    found = implicit(
        losses,
        problem.training_loss,
        problem.weights,
        problem.alphas,
        solver=partial(conjugate_gradient, iterations=10),
        damping=0.0,
        product=exact_product,
        reduce=list,
    )
    assert problem.graphs == 1
    torch.testing.assert_close(found["twice"].gradient, 2 * found["once"].gradient, rtol=1e-12, atol=0)


def test_differences_give_the_gradient_of_exact_products_on_a_quadratic():
    problem = Quadratic()
    solver = partial(conjugate_gradient, iterations=10)
    found = problem.implicit(solver, 0.5, finite_difference_product)
    torch.testing.assert_close(found.gradient, problem.implicit(solver, 0.5).gradient, rtol=1e-9, atol=1e-9)


def test_a_training_loss_without_curvature_leaves_the_answer_out_of_cg_and_is_not_an_error():
    problem = Quadratic()
    problem.A = np.zeros((10, 10))
    found = problem.implicit(partial(conjugate_gradient, iterations=10))
    np.testing.assert_allclose(found.gradient.numpy(), problem.S @ problem.a, rtol=1e-14)
    assert found.residual == 1


def matrix_of(eigenvalues, seed=0):
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((len(eigenvalues), len(eigenvalues))))
    return basis @ np.diag(eigenvalues) @ basis.T, rng.standard_normal(len(eigenvalues))


def test_conjugate_gradient_walks_as_that_of_scipy():
    matrix, vector = matrix_of(np.linspace(0.1, 5, 30))
    iterates = []
    scipy.sparse.linalg.cg(matrix, vector, rtol=0, maxiter=12, callback=lambda x: iterates.append(x.copy()))
    for iterations, expected in enumerate(iterates, 1):
        found = conjugate_gradient(
            lambda x: torch.from_numpy(matrix) @ x, torch.from_numpy(vector), iterations=iterations
        )
        np.testing.assert_allclose(found.vector.numpy(), expected, rtol=1e-9, atol=1e-12)
        residual = np.linalg.norm(vector - matrix @ expected) / np.linalg.norm(vector)
        assert found.residual == pytest.approx(residual, rel=1e-8)


def test_conjugate_gradient_needs_one_iteration_for_each_different_eigenvalue():
    matrix, vector = (torch.from_numpy(part) for part in matrix_of(np.array([1.0, 1, 1, 4, 4, 9])))
    residuals = [conjugate_gradient(lambda x: matrix @ x, vector, iterations=i).residual for i in (2, 3, 50)]
    assert residuals[0] > 1e-3
    assert max(residuals[1:]) < 1e-12


def test_conjugate_gradient_returns_what_solves_best_once_it_meets_negative_curvature():
    matrix, vector = (torch.from_numpy(part) for part in matrix_of(np.array([-1.0, -0.02, 2, 3, 4, 9]), seed=4))
    curvatures = []

    def product(x):
        curvatures.append(float(x @ matrix @ x))
        return matrix @ x

    found = conjugate_gradient(product, vector, iterations=50)
    assert len(curvatures) > 2
    assert min(curvatures[:-1]) > 0 > curvatures[-1]
    walked = [conjugate_gradient(lambda x: matrix @ x, vector, iterations=i) for i in range(1, len(curvatures))]
    residuals = [((vector - matrix @ solution.vector).norm() / vector.norm()).item() for solution in walked]
    assert [solution.residual for solution in walked] == pytest.approx(residuals)
    assert found.residual == pytest.approx(min(1.0, *residuals))
    assert found.residual < residuals[-1]


@pytest.mark.parametrize("solver", [partial(neumann, step_size=0.1), conjugate_gradient])
def test_no_vector_has_no_answer(solver):
    found = solver(lambda x: 2 * x, torch.zeros(3), iterations=4)
    assert found.vector.tolist() == [0, 0, 0]
    assert found.residual == 0


def test_a_series_that_does_not_converge_says_so():
    assert neumann(lambda x: 30 * x, torch.ones(3), step_size=0.1, iterations=5).residual == pytest.approx(32)


def test_neumann_steps_by_the_learning_rate_unless_told_otherwise():
    vector = torch.ones(2)
    for step, expected in ((None, 0.2), (0.5, 0.5)):
        solver = make_solver("neumann", ImplicitSettings(iterations=3, step=step), 0.2)
        torch.testing.assert_close(solver(lambda x: 0 * x, vector).vector, 4 * expected * vector)
    solver = make_solver("cg", ImplicitSettings(iterations=1), 0.2)
    torch.testing.assert_close(solver(lambda x: 8 * x, vector).vector, vector / 8)


DAMPING = 40.0  # about twice the largest negative curvature of this supernet


@pytest.fixture(scope="module")
def supernet_problem():
    """A supernet in float64, and the losses of two batches."""
    torch.manual_seed(4)  # with others a difference of 1e-5 crosses a kink of ReLU
    space = SearchSpace(nodes=1, operations=("none", "skip_connect", "sep_conv_3x3"))
    supernet = Supernet(space, channels=1, layers=3, num_classes=3, in_channels=1).double()
    labels = torch.arange(6) % 3
    images = [torch.rand(6, 1, 8, 8, dtype=torch.float64) for _ in range(2)]
    losses = [lambda batch=batch: F.cross_entropy(supernet(batch), labels) for batch in images]
    return supernet, supernet.weights(), *losses


def numerical(problem, steps, step_size):
    """Difference of the validation loss along a direction of alpha, the weights having walked down the training loss.

    The training loss is made stationary at the present weights w0 by a linear term, and gets DAMPING |w - w0|^2 / 2.
    """
    supernet, weights, training_loss, loss = problem
    direction = torch.sin(torch.arange(supernet.alphas.numel(), dtype=torch.float64)).view_as(supernet.alphas)
    start = [weight.detach().clone() for weight in weights]
    offset = torch.autograd.grad(training_loss(), weights)
    sides = []
    for sign in (1, -1):
        with moved([supernet.alphas], [sign * 1e-5 * direction]), moved(weights, [0 * weight for weight in start]):
            for _ in range(steps):
                slopes = torch.autograd.grad(training_loss(), weights)
                with torch.no_grad():
                    for weight, slope, away, old in zip(weights, slopes, offset, start, strict=True):
                        weight -= step_size * (slope - away + DAMPING * (weight - old))
            sides.append(loss().item())
    return direction, (sides[0] - sides[1]) / 2e-5


@pytest.mark.parametrize(
    ("solver", "steps", "step_size"),
    [
        (partial(conjugate_gradient, iterations=14), 28, 0.02),
        (partial(neumann, step_size=0.01, iterations=4), 5, 0.01),
    ],
    ids=["cg", "neumann, five terms"],
)
def test_an_implicit_gradient_of_a_supernet_is_the_numerical_one(supernet_problem, solver, steps, step_size):
    supernet, weights, training_loss, loss = supernet_problem
    arguments = {"solver": solver, "damping": DAMPING, "product": exact_product, "reduce": list}
    found = implicit({"loss": loss}, training_loss, weights, supernet.alphas, **arguments)["loss"].gradient
    first = first_order({"loss": loss}, supernet.alphas, list, weights=weights)["loss"].gradient
    direction, expected = numerical(supernet_problem, steps, step_size)
    assert (found * direction).sum().item() == pytest.approx(expected, rel=1e-6)
    assert abs((first * direction).sum().item() / expected - 1) > 1e-3
