"""The aggregators beside MGDA: what their papers promise, other solvers as oracles, and runs that are stopped."""

import re
import sys

import numpy as np
import pytest
import scipy.optimize
import torch
import torchjd.aggregation

from mgda import MGDA, CAGrad, NashMTL, PCGrad, UPGrad, balance
from tests.support.optimization.aggregators import AGGREGATORS, conflicting


def random_jacobian(seed, objectives=3):
    """Gradients with a common part, of lengths that differ by up to 30."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(objectives, 12, generator=generator, dtype=torch.float64)
    rows = rows + 0.3 * torch.randn(12, generator=generator, dtype=torch.float64)
    return 10 ** (1.5 * torch.rand(objectives, 1, generator=generator, dtype=torch.float64)) * rows


@pytest.mark.parametrize("normalisation", ["none", "l2"])
@pytest.mark.parametrize("name", AGGREGATORS)
def test_weights_and_scales_make_the_direction_and_are_logged_by_name(name, normalisation):
    jacobian = random_jacobian(0)
    outcome = balance(
        dict(zip("abc", jacobian, strict=True)), aggregator=AGGREGATORS[name](normalisation=normalisation)
    )
    terms = [outcome.weights[k] * outcome.scales[k] * row for k, row in zip("abc", jacobian, strict=True)]
    torch.testing.assert_close(torch.stack(terms).sum(0), outcome.direction)
    lengths = jacobian.norm(dim=1).reciprocal().tolist() if normalisation == "l2" else [1.0] * 3
    assert list(outcome.scales.values()) == pytest.approx(lengths)
    assert outcome.norm > 0
    assert min(outcome.weights.values()) >= 0


@pytest.mark.parametrize("name", ["mgda", "weighted_sum", "upgrad", "cagrad", "pcgrad"])
def test_a_common_factor_of_the_gradients_is_one_of_the_direction(name):
    # torchjd itself takes gradients of length 1e-3 for none
    jacobian = random_jacobian(1)
    directions = [AGGREGATORS[name]()(factor * jacobian) / factor for factor in (1, 1e-6, 1e6)]
    for direction in directions[1:]:
        torch.testing.assert_close(direction, directions[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", AGGREGATORS)
def test_no_gradients_give_no_direction_and_float32_stays_float32(name):
    direction = AGGREGATORS[name]()(torch.zeros(3, 5))
    assert direction.tolist() == [0] * 5
    assert direction.dtype == torch.float32


@pytest.mark.parametrize("name", AGGREGATORS)
def test_one_gradient_is_followed(name):
    row = torch.tensor([[0.3, -0.4, 0.0]], dtype=torch.float64)
    direction = AGGREGATORS[name]()(row)
    assert torch.cosine_similarity(direction, row[0], dim=0).item() == pytest.approx(1)


@pytest.mark.parametrize("name", AGGREGATORS)
def test_the_order_of_the_objectives_plays_no_part(name):
    jacobian = random_jacobian(2, objectives=2)  # of three, PCGrad's order is random
    torch.testing.assert_close(
        AGGREGATORS[name]()(jacobian.flip(0)), AGGREGATORS[name]()(jacobian), rtol=1e-5, atol=1e-5
    )


def test_mgda_is_no_longer_than_that_of_torchjd_and_as_near_as_its_iterations_promise():
    for seed in range(30):
        jacobian = random_jacobian(seed, objectives=2 + seed % 4)
        reference = torchjd.aggregation.MGDA(epsilon=1e-12, max_iters=300)(jacobian)
        found = MGDA()(jacobian)
        excess = (reference.norm() ** 2 - found.norm() ** 2).item()
        assert excess >= -1e-12 * found.norm().item() ** 2
        diameter = torch.cdist(jacobian, jacobian).max().item()
        assert excess <= 4 * diameter**2 / 302  # Jaggi 2013, theorem 1
        assert (reference - found).norm().item() ** 2 <= excess + 1e-9
        if len(jacobian) == 2:  # solved in one step there
            torch.testing.assert_close(found, reference, rtol=1e-10, atol=1e-12)


def test_upgrad_raises_no_objective_and_is_the_mean_of_projections():
    for seed in range(50):
        jacobian = random_jacobian(seed, objectives=2 + seed % 3)
        direction = UPGrad()(jacobian)
        assert (jacobian @ direction >= -1e-7 * jacobian.norm(dim=1) * direction.norm()).all()
        rows = jacobian.numpy()
        # the projection of g on {x: J x >= 0} is g + J^T y with the y >= 0 that makes it shortest
        projected = [row + rows.T @ scipy.optimize.nnls(rows.T, -row)[0] for row in rows]
        np.testing.assert_allclose(direction.numpy(), np.mean(projected, axis=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("c", [0.2, 0.5, 0.9])
def test_cagrad_is_the_best_of_its_ball_for_the_worst_objective(c):
    for seed in range(10):
        jacobian = random_jacobian(seed)
        direction = CAGrad(c=c)(jacobian)
        mean = jacobian.mean(0)
        assert (direction - mean).norm().item() == pytest.approx(c * mean.norm().item(), rel=1e-4)
        worst = (jacobian @ direction).min().item()
        steps = torch.randn(2000, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        steps = torch.cat([steps, direction - mean + 0.1 * steps])
        others = mean + c * mean.norm() * steps / steps.norm(dim=1, keepdim=True)
        assert (others @ jacobian.T).amin(1).max().item() <= worst + 1e-3 * jacobian.norm().item()


def test_nash_mtl_gives_every_objective_the_same_relative_gain():
    for seed in range(5):
        jacobian = random_jacobian(seed)
        outcome = NashMTL(max_norm=1e9).weigh(jacobian)
        gains = outcome.weights * (jacobian @ jacobian.T @ outcome.weights)
        torch.testing.assert_close(gains / gains.mean(), torch.ones(3, dtype=torch.float64), rtol=0.05, atol=0)


def test_nash_mtl_is_as_long_as_allowed():
    assert NashMTL(max_norm=0.25)(random_jacobian(0)).norm().item() == pytest.approx(0.25)


def test_nash_mtl_starts_from_the_last_weights_of_the_objectives_that_are_there():
    together, apart = NashMTL(), NashMTL()
    gradients = dict(zip("abc", random_jacobian(3), strict=True))
    for aggregator in (together, apart):
        balance(gradients, aggregator=aggregator)
    remembered = dict(together.previous)
    balance(gradients, aggregator=together, active=["a", "b"])
    assert together.previous["c"] == remembered["c"]
    assert together.previous["a"] != remembered["a"]
    moved = {name: gradient.roll(1) for name, gradient in gradients.items()}
    assert balance(moved, aggregator=together).weights != balance(moved, aggregator=NashMTL()).weights


def test_pcgrad_of_two_is_the_sum_of_both_without_their_conflict():
    conflicts = 0
    for seed in range(20):
        a, b = random_jacobian(seed, objectives=2)
        expected = a + b
        if a @ b < 0:
            conflicts += 1
            expected = (a - a @ b / (b @ b) * b) + (b - a @ b / (a @ a) * a)
        torch.testing.assert_close(PCGrad()(torch.stack([a, b])), expected)
    assert 0 < conflicts < 20


def test_pcgrad_draws_from_its_own_generator_and_leaves_the_global_one():
    aggregator = PCGrad(generator=torch.Generator().manual_seed(5))
    before = torch.get_rng_state()
    first = [aggregator(conflicting()) for _ in range(8)]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    again = PCGrad(generator=torch.Generator().manual_seed(5))
    assert all(torch.equal(again(conflicting()), direction) for direction in first)
    assert len({tuple(direction.tolist()) for direction in first}) > 1


@pytest.mark.parametrize("name", AGGREGATORS)
def test_a_restored_aggregator_goes_on_in_the_same_bits(name):
    aggregator, other = (AGGREGATORS[name]() for _ in range(2))
    for seed in range(3):
        aggregator(random_jacobian(seed))
    other.restore(aggregator.state())
    for seed in range(3, 6):
        assert torch.equal(aggregator(random_jacobian(seed)), other(random_jacobian(seed)))


def test_solvers_that_are_missing_are_named_with_what_installs_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    with pytest.raises(ValueError, match=re.escape("not installed; run: pip install -e '.[balancing]'")):
        CAGrad()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CAGrad(c=1.0), r"c in \[0, 1\), found 1.0"),
        (lambda: NashMTL(max_norm=0.0), "max_norm above 0, found 0.0"),
        (lambda: UPGrad(normalisation="loss"), "one of .*found 'loss'"),
        (lambda: PCGrad()(torch.ones(3)), "floating-point Jacobian"),
    ],
)
def test_what_an_aggregator_cannot_use_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
