"""Backpropagation through whole trainings: its derivative, its resumed bits, and what it learns."""

import io
import math

import pytest
import torch

from learned_optimizers import new_theta
from learned_optimizers.meta_training.backpropagation import (
    BackpropagationRecipe,
    BackpropagationTraining,
    loss_curve,
)
from learned_optimizers.meta_training.unroll import Draw
from learned_optimizers.tasks import buckets, sample_task
from tests.support.optimization.learned_steps import close, functional, theta_of

FAMILIES = ("quadratics_5", "rosenbrock")


def recipe(**changes):
    settings = {"trainings": 4, "tasks": 6, "horizon": 5, "cap": 2.0, "penalty": 1e-3} | changes
    return BackpropagationRecipe(seed=0, task_seed=0, **settings)


def training(theta, families=FAMILIES, **changes):
    rates = {"learning_rate": 8e-3, "epsilon": 0.1, "clip": 5.0}
    return BackpropagationTraining(theta, recipe(**changes), buckets(families), **rates)


@pytest.mark.parametrize("name", ["gru", "mlp"])
def test_a_curve_is_that_of_the_optimizer_step_by_step(name):
    theta, task = theta_of(name, torch.float32), sample_task("quadratics_5", 0, 3)
    draw = Draw([task], [(0, "test")])
    found = loss_curve(theta, theta.vector()[None], draw, 4)[:, 0]
    params, rows, expected = [tensor[0] for tensor in draw.initial()], [], []
    start = params
    for _ in range(4):
        leaves = [param.clone().requires_grad_() for param in params]
        loss = task.loss(leaves, task.constants, ())
        expected.append(loss.detach())
        rows.append((list(torch.autograd.grad(loss, leaves)), loss.detach(), None))
        params = functional(theta, start, rows)
    close(found, expected, 1e-5)


def test_the_derivative_is_the_difference_quotient():
    theta = theta_of("gru", torch.float32, scale=0.3)
    draw = Draw([sample_task("quadratics_5", 0, index) for index in range(2)], [(0, 0), (0, 1)])
    along = torch.randn(theta.num_parameters, generator=torch.Generator().manual_seed(0))

    def mean(vector):
        return loss_curve(theta, vector.expand(2, -1), draw, 4).mean()

    vector = theta.vector().requires_grad_()
    (gradient,) = torch.autograd.grad(mean(vector), vector)
    with torch.no_grad():
        quotient = (mean(vector + 1e-2 * along) - mean(vector - 1e-2 * along)) / 2e-2
    assert abs(quotient) > 1e-3
    torch.testing.assert_close(gradient @ along, quotient, rtol=2e-2, atol=1e-4)


def test_a_restored_training_ends_in_the_same_bits():
    theta, file = theta_of("gru", torch.float32), io.BytesIO()
    whole = training(theta)
    rows = [whole.step() for _ in range(4)]
    first = training(theta)
    first.step()
    first.step()
    torch.save(first.state(), file)
    file.seek(0)
    second = training(theta)
    second.restore(torch.load(file, weights_only=True))
    assert [second.step() for _ in range(2)] == rows[2:]
    assert torch.equal(second.theta.vector(), whole.theta.vector())


def test_a_new_gru_moves_nothing_and_learns_within_a_few_steps():
    training_ = training(new_theta("gru", generator=torch.Generator().manual_seed(0)), ("quadratics_5",), horizon=20)
    losses = [training_.step()["loss"] for _ in range(8)]
    assert losses[0] == 1
    assert losses[-1] < 0.7


def test_no_training_has_a_longer_gradient_than_the_clip_and_the_others_are_not_swamped_by_it():
    theta = theta_of("gru", torch.float32)
    free, clipped = training(theta, FAMILIES[:1], penalty=0.0), training(theta, FAMILIES[:1], penalty=0.0)
    free.clip, clipped.clip = 1e9, 1e-3
    norm = free.step()["gradient_norm"]
    row = clipped.step()
    assert norm > 1e-2
    assert row["clipped"] == 1
    assert row["gradient_norm"] <= 1e-3 + 1e-6


def test_lengths_of_trainings_are_log_uniform_between_their_bounds():
    lengths = torch.tensor([recipe(horizon=160, least_horizon=40).length(step) for step in range(200)])
    assert 40 <= lengths.min() < 45
    assert 150 < lengths.max() <= 160
    assert 70 < lengths.float().log().mean().exp() < 90  # sqrt(40 * 160) is 80
    assert {recipe(horizon=160).length(step) for step in range(5)} == {160}


def test_logarithms_of_losses_count_alike_in_all_units_and_later_ones_more():
    curve = torch.tensor([[2.0, 4.0], [1.0, 1.0], [0.0, 8e9]])
    found = recipe(logarithmic=True, late=0.6, cap=1.5).losses(curve)
    least, weights = 1e-3, [0.6, 1.0, 1.4]
    values = [1.0, math.log((0.5 + least) / least) / math.log((1 + least) / least), 0.0]
    expected = sum(weight * value for weight, value in zip(weights, values, strict=True)) / 3
    torch.testing.assert_close(found[0].item(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(recipe(logarithmic=True, late=0.6, cap=1.5).losses(100 * curve), found)
    assert found[1] < (0.6 + 1.0 + 1.4 * 1.5) / 3
    torch.testing.assert_close(recipe().losses(curve[:2]), torch.tensor([0.75, 0.625]))


def test_a_loss_that_overflows_counts_as_the_cap_and_moves_nothing():
    wild = theta_of("gru", torch.float32)
    wild = wild.with_vector(1e12 * wild.vector())
    training_ = training(wild, ("rosenbrock",), horizon=8)
    row = training_.step()
    assert row["loss"] <= 2
    assert training_.theta.vector().isfinite().all()
