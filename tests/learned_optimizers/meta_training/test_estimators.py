"""Gradient estimates: laws, closed forms for a sine, and where truncated gradients point the wrong way."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learned_optimizers import es_estimates, merge_estimates, reparameterized_estimates
from learned_optimizers.meta_training.estimators import es_from_losses
from tests.support.slowly import slowly

SIGMA = 0.01


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_both_estimate_the_gradient_of_a_linear_loss_exactly_in_expectation():
    slope, theta = normal(5), normal(5, seed=1)
    eps = normal(6_000, 5, seed=2)
    es = es_estimates(lambda x: slope @ x + 3, theta, eps, 0.3)
    error = es.std(0) / len(es) ** 0.5
    assert ((es.mean(0) - slope).abs() < 4 * error).all()  # Stein's identity
    rp = reparameterized_estimates(lambda x: slope @ x + 3, theta, eps[:3], 0.3)
    torch.testing.assert_close(rp, slope.expand(3, -1))


@given(st.integers(0, 1000), st.floats(1e-3, 1.0))
@settings(deadline=None, max_examples=25)
def test_antithetic_pairs_are_exact_where_symmetry_makes_them_so(seed, sigma):
    theta, eps = normal(4, seed=seed), normal(3, 4, seed=seed + 1)
    hessian = torch.diag(torch.arange(1.0, 5.0, dtype=torch.float64))
    # the curvature of a quadratic cancels: each RP estimate is its smoothed gradient, each ES one (g . eps) eps
    rp = reparameterized_estimates(lambda x: x @ hessian @ x / 2, theta, eps, sigma)
    torch.testing.assert_close(rp, (hessian @ theta).expand(3, -1))
    es = es_estimates(lambda x: x @ hessian @ x / 2, theta, eps, sigma)
    torch.testing.assert_close(es, (eps @ (hessian @ theta)).unsqueeze(1) * eps, rtol=1e-6, atol=1e-9)
    even = es_estimates(lambda x: (x - theta).square().sum(), theta, eps, sigma)
    torch.testing.assert_close(even, torch.zeros_like(even), rtol=0, atol=1e-9)
    torch.testing.assert_close(
        es_estimates(lambda x: x.sum(), theta, -eps, sigma), es_estimates(lambda x: x.sum(), theta, eps, sigma)
    )


def sine_estimates(omega, pairs, seed):
    theta, eps = torch.zeros(1, dtype=torch.float64), normal(pairs, 1, seed=seed)
    both = es_estimates, reparameterized_estimates
    return [estimates(lambda x: torch.sin(omega * x[0]), theta, eps, SIGMA) for estimates in both]


@pytest.mark.parametrize("omega", [10, 100, 300])
def test_mean_and_variance_for_a_sine_are_the_closed_forms(omega):
    """At theta = 0, with a = omega sigma: ES = sin(a e) e / sigma and RP = omega cos(a e), e ~ N(0, 1)."""
    a = omega * SIGMA
    mean = omega * math.exp(-(a**2) / 2)
    es_square = (1 - (1 - 4 * a**2) * math.exp(-2 * a**2)) / (2 * SIGMA**2)
    rp_square = omega**2 * (1 + math.exp(-2 * a**2)) / 2
    es, rp = sine_estimates(omega, 5_000, seed=omega)
    for found, square in ((es, es_square), (rp, rp_square)):
        variance = square - mean**2
        assert found.mean().item() == pytest.approx(mean, abs=4 * (variance / len(found)) ** 0.5)
        assert found.var().item() == pytest.approx(variance, rel=0.15)


@pytest.mark.parametrize("omega", [10, 500, *slowly(20, 50, 100, 150, 200, 300)])
def test_the_variance_of_the_merged_estimate_is_at_most_1_05_times_the_lower_one(omega):
    repeats, pairs = 150, 50
    es, rp = sine_estimates(omega, repeats * pairs, seed=1)
    groups = zip(es.split(pairs), rp.split(pairs), strict=True)
    merged = torch.stack([torch.cat([merge_estimates(a, b), a.mean(0), b.mean(0)]) for a, b in groups])
    of_merged, of_es, of_rp = merged.var(0).tolist()
    assert of_merged <= 1.05 * min(of_es, of_rp)


def test_merging_is_by_inverse_variance_an_element():
    es, rp = normal(6, 3), 2 * normal(6, 3, seed=1)
    v_es, v_rp = (torch.from_numpy(x.numpy().var(0, ddof=1)) + 1e-8 for x in (es, rp))
    expected = (es.mean(0) / v_es + rp.mean(0) / v_rp) / (1 / v_es + 1 / v_rp)
    torch.testing.assert_close(merge_estimates(es, rp), expected)
    torch.testing.assert_close(merge_estimates(rp, es), expected)
    torch.testing.assert_close(merge_estimates(es, es), es.mean(0))


def test_an_exploding_estimator_gets_no_weight_rather_than_a_nan():
    es, rp = normal(6, 3).float(), torch.full((6, 3), 1e30) * normal(6, 3, seed=1).float()
    torch.testing.assert_close(merge_estimates(es, rp), es.mean(0))
    torch.testing.assert_close(merge_estimates(rp, es), es.mean(0))


def test_weights_from_a_held_out_half_remove_the_bias_that_own_weights_have():
    """An estimate whose variance grows with its size is weighed down exactly where it is large."""
    es = normal(4_000, 4, 1, seed=3).exp() - math.exp(0.5)  # mean 0, skewed
    rp = normal(4_000, 4, 1, seed=4)
    own = torch.stack([merge_estimates(a, b) for a, b in zip(es, rp, strict=True)])
    held = torch.stack([merge_estimates(a, b, held_out=True) for a, b in zip(es, rp, strict=True)])
    error = held.std().item() / len(held) ** 0.5
    assert own.mean().item() < -5 * own.std().item() / len(own) ** 0.5
    assert abs(held.mean().item()) < 3 * error


def influence_balancing(theta, steps, start):
    """Tallec & Ollivier 2017: 10 of 23 units see theta, 13 see -theta; what is near pulls the wrong way."""
    matrix = 0.5 * (torch.eye(23, dtype=torch.float64) + torch.diag(torch.ones(22, dtype=torch.float64), 1))
    signs = torch.tensor([1.0] * 10 + [-1.0] * 13, dtype=torch.float64)
    state, losses = start, []
    for _ in range(steps):
        state = state @ matrix.T + theta.unsqueeze(-1) * signs
        losses.append((state[..., 0] - 1).square() / 2)
    return state, torch.stack(losses)


def test_persistent_es_has_the_sign_of_the_whole_unroll_where_truncated_gradients_have_the_other():
    theta = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    steps, length, pairs, sigma = 160, 1, 2000, 0.1
    start = torch.ones(23, dtype=torch.float64)
    full = torch.autograd.grad(influence_balancing(theta, steps, start)[1].sum(), theta)[0]
    truncated, state = 0.0, start
    theta_now = theta.detach()
    moved = torch.zeros(pairs, dtype=torch.float64)
    members = [start.expand(pairs, -1)] * 2
    persistent = torch.zeros(pairs, 1, dtype=torch.float64)
    for truncation in range(steps // length):
        state, losses = influence_balancing(theta, length, state.detach())
        truncated += torch.autograd.grad(losses.sum(), theta)[0]
        eps = normal(pairs, seed=truncation)
        moved = moved + eps
        ends = [
            influence_balancing(theta_now + s * sigma * eps, length, m) for s, m in zip((1, -1), members, strict=True)
        ]
        members = [end for end, _ in ends]
        plus, minus = (losses.sum(0) for _, losses in ends)
        persistent += es_from_losses(plus, minus, moved.unsqueeze(1), sigma)
    assert truncated < 0 < full  # the loss of the whole unroll rises in theta; truncated, it seems to fall
    error = persistent.std() / pairs**0.5
    assert (persistent.mean() - full).abs() < 4 * error  # linear in theta, so the smoothed gradient is the gradient
    assert persistent.mean() > 5 * error


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: es_estimates(torch.sum, torch.zeros(3), torch.zeros(2, 4), 0.1), "expected theta"),
        (lambda: reparameterized_estimates(torch.sum, torch.zeros(3), torch.zeros(3), 0.1), "expected theta"),
        (lambda: es_estimates(torch.sum, torch.zeros(3), torch.zeros(2, 3), 0.0), "expected sigma > 0, found 0.0"),
        (lambda: merge_estimates(torch.zeros(1, 3), torch.zeros(1, 3)), "at least 2 pairs"),
        (lambda: merge_estimates(torch.zeros(3, 3), torch.zeros(3, 3), held_out=True), "at least 4 pairs"),
        (lambda: merge_estimates(torch.zeros(3, 3), torch.zeros(3, 2)), "of one shape"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
