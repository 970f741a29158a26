"""Where preferences lead: laws on random gradients, then the known front of a convex problem."""

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import torch

from mgda import MGDA, UPGrad, WeightedSum, balance

NAMES = ("accuracy", "robustness", "macs")


def random_case(seed):
    """Gradients by name, of lengths that differ by up to 10, and preferences from .1 to 10."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(3, 6, generator=generator, dtype=torch.float64) + 0.3
    rows = rows * 10 ** torch.rand(3, 1, generator=generator, dtype=torch.float64)
    preferences = (10 ** (2 * torch.rand(3, generator=generator) - 1)).tolist()
    return dict(zip(NAMES, rows, strict=True)), dict(zip(NAMES, preferences, strict=True))


def test_every_objective_falls_by_its_preference_at_least_and_exactly_where_it_has_weight():
    weightless = 0
    for seed in range(200):
        gradients, preferences = random_case(seed)
        outcome = balance(gradients, aggregator=MGDA(preferences=preferences))
        common = outcome.norm**2
        for name, gradient in gradients.items():
            rate = float(gradient @ outcome.direction) / preferences[name]
            assert rate >= common * (1 - 1e-9)
            if outcome.weights[name] > 0:
                assert rate == pytest.approx(common, rel=1e-9)
            else:
                weightless += 1
    assert 0 < weightless < 300  # of 600: both cases were met


def test_the_least_rate_per_preference_is_as_large_as_scipy_can_make_it():
    for seed in range(20):
        gradients, preferences = random_case(seed)
        rows = np.stack([(gradients[name] / preferences[name]).numpy() for name in NAMES])
        found = balance(gradients, aggregator=MGDA(preferences=preferences)).direction.numpy()

        start = np.append(rows.mean(0), 0)
        best = scipy.optimize.minimize(
            lambda z: z[:-1] @ z[:-1] / 2 - z[-1],
            start,
            jac=lambda z: np.append(z[:-1], -1),
            constraints={
                "type": "ineq",
                "fun": lambda z, rows=rows: rows @ z[:-1] - z[-1],
                "jac": lambda z, rows=rows: np.column_stack([rows, -np.ones(3)]),
            },
            method="SLSQP",
            options={"ftol": 1e-13, "maxiter": 300},
        )
        scale = np.linalg.norm(rows, axis=1).max()
        np.testing.assert_allclose(found, best.x[:-1], atol=2e-4 * scale)


def test_l2_asks_for_rates_in_units_of_the_gradients_lengths():
    gradients, preferences = random_case(0)
    aggregator = MGDA(normalisation="l2", preferences=preferences)
    expected = balance({k: g / g.norm() for k, g in gradients.items()}, aggregator=MGDA(preferences=preferences))
    torch.testing.assert_close(balance(gradients, aggregator=aggregator).direction, expected.direction)


def test_equal_preferences_point_where_none_do():
    gradients, _ = random_case(3)
    expected = balance(gradients, aggregator=MGDA()).direction
    found = balance(gradients, aggregator=MGDA(preferences=dict.fromkeys(NAMES, 4.0))).direction
    torch.testing.assert_close(4 * found, expected)


def test_the_preference_of_an_objective_that_is_not_active_plays_no_part():
    gradients, preferences = random_case(4)
    active = NAMES[:2]
    expected = balance(
        {name: gradients[name] for name in active},
        aggregator=MGDA(preferences={name: preferences[name] for name in active}),
    )
    found = balance(gradients, aggregator=MGDA(preferences=preferences), active=active)
    assert torch.equal(found.direction, expected.direction)


START = np.array([0.1, 0.9])  # its gradients are at an obtuse angle, and stay so


def values(point):
    """Half the squared distances from (-1, 0) and (1, 0): the front is sqrt(2 f1) + sqrt(2 f2) = 2."""
    return np.array([np.sum((point - [-1, 0]) ** 2), np.sum((point - [1, 0]) ** 2)]) / 2


def expected_on_front(preference):
    """Where f(START) - t p meets the front."""
    start, p = values(START), np.array(preference)

    def beyond(t):
        return np.sqrt(2 * np.maximum(start - t * p, 0)).sum() - 2

    return start - scipy.optimize.brentq(beyond, 0, (start / p).min()) * p


@pytest.mark.parametrize("preference", [(1, 4), (2, 3), (1, 1), (3, 2), (4, 1)])
def test_gradient_flow_ends_where_the_line_of_the_preference_meets_the_front(preference):
    aggregator = MGDA(preferences=dict(zip(NAMES, preference, strict=False)))

    def flow(_, point):
        x = torch.from_numpy(point)
        gradients = {"accuracy": x - x.new_tensor([-1, 0]), "robustness": x - x.new_tensor([1, 0])}
        outcome = balance(gradients, aggregator=aggregator)
        return -outcome.direction.numpy() / max(outcome.norm, 1e-9)  # unit speed: the front is reached in finite time

    def front(_, point):
        return point[1] - 1e-4

    front.terminal = True
    path = scipy.integrate.solve_ivp(flow, (0, 5), START, events=front, rtol=1e-8, atol=1e-10, max_step=0.05)
    assert path.status == 1
    fallen = values(START)[:, None] - np.stack([values(point) for point in path.y.T], axis=1)
    np.testing.assert_allclose(fallen[0] * preference[1], fallen[1] * preference[0], atol=1e-7)
    np.testing.assert_allclose(values(path.y[:, -1]), expected_on_front(preference), atol=2e-4)


def test_a_larger_preference_walks_along_the_front():
    robustness = [expected_on_front((1, ratio))[1] for ratio in (0.25, 0.5, 1, 2, 4)]
    assert robustness == sorted(robustness, reverse=True)
    assert robustness[0] - robustness[-1] > 0.3


def test_weighted_sum_is_the_gradient_of_the_weighted_loss():
    x = torch.tensor([0.3, -0.7, 2.0], dtype=torch.float64, requires_grad=True)
    losses = {"accuracy": (x**2).sum(), "robustness": torch.sin(x).sum(), "macs": x.prod()}
    gradients = {name: torch.autograd.grad(loss, x, retain_graph=True)[0] for name, loss in losses.items()}
    outcome = balance(gradients, aggregator=WeightedSum(preferences={"robustness": 3.0, "macs": 0.5}))
    (expected,) = torch.autograd.grad(losses["accuracy"] + 3 * losses["robustness"] + losses["macs"] / 2, x)
    torch.testing.assert_close(outcome.direction, expected)
    assert outcome.weights == {"accuracy": 1, "robustness": 3, "macs": 0.5}


def test_upgrad_projects_the_gradients_by_their_preferences():
    rows, preferences = random_case(5)
    outcome = balance(rows, aggregator=UPGrad(preferences=preferences))
    jacobian = np.stack([row.numpy() for row in rows.values()])
    shares = np.array([preferences[name] for name in NAMES]) / sum(preferences.values())
    parts = [row + jacobian.T @ scipy.optimize.nnls(jacobian.T, -row)[0] for row in jacobian]
    np.testing.assert_allclose(outcome.direction.numpy(), shares @ np.stack(parts), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_a_preference_is_positive_and_finite(value):
    with pytest.raises(ValueError, match=r"expected preferences that are positive and finite, found \{'macs'"):
        MGDA(preferences={"macs": value})


def test_preferences_need_names():
    with pytest.raises(ValueError, match="expected the names of 2 objectives beside preferences"):
        MGDA(preferences={"accuracy": 2.0})(torch.ones(2, 3))
