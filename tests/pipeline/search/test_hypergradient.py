"""Gradients through the weights' answer to alpha, against numerical differences in float64."""

import pytest
import torch
from torch.nn import functional as F

from pipeline.search.hypergradient import exact_product, finite_difference_product, first_order, moved, unrolled
from pipeline.settings import WeightOptimizerSettings
from pipeline.training.optimizers import drift, make_weight_optimizer
from pipeline.training.steps import clipped_step
from search_space import SearchSpace, Supernet

STEP = 0.05


def no_reduction(tensors):
    return list(tensors)


@pytest.fixture
def problem():
    """A supernet in float64 with two batches; its weights, alphas, drift and losses."""
    torch.manual_seed(4)  # with others a difference of 1e-5 crosses a kink of ReLU or pooling
    space = SearchSpace(nodes=1, operations=("none", "skip_connect", "sep_conv_3x3", "avg_pool_3x3"))
    supernet = Supernet(space, channels=2, layers=3, num_classes=3, in_channels=1).double()
    images = [torch.rand(8, 1, 8, 8, dtype=torch.float64) for _ in range(3)]
    labels = torch.arange(8) % 3
    weights = supernet.weights()
    losses = [lambda batch=batch: F.cross_entropy(supernet(batch), labels) for batch in images]
    drift = [0.1 * torch.randn_like(weight) for weight in weights]
    return supernet, weights, drift, losses[0], {"first": losses[1], "second": losses[2]}


def unrolled_value(problem, name):
    """loss(w - step (d training_loss/dw + drift), alpha), written straight from the definition."""
    _, weights, drift, training_loss, losses = problem
    slopes = torch.autograd.grad(training_loss(), weights)
    with moved(weights, [-STEP * (slope + extra) for slope, extra in zip(slopes, drift, strict=True)]):
        return losses[name]().item()


@pytest.mark.parametrize("name", ["first", "second"])
def test_unrolled_gradient_is_the_numerical_one(problem, name):
    supernet, weights, drift, training_loss, losses = problem
    found = unrolled(
        losses,
        training_loss,
        weights,
        supernet.alphas,
        step_size=STEP,
        drift=drift,
        product=exact_product,
        reduce=no_reduction,
    )[name]
    direction = torch.randn_like(supernet.alphas)
    sides = []
    for sign in (1, -1):
        with moved([supernet.alphas], [sign * 1e-5 * direction]):
            sides.append(unrolled_value(problem, name))
    numerical = (sides[0] - sides[1]) / 2e-5
    assert (found.gradient * direction).sum().item() == pytest.approx(numerical, rel=1e-7)
    assert found.value.item() == unrolled_value(problem, name)


def test_finite_difference_agrees_with_the_exact_product_where_the_loss_is_smooth():
    # on a supernet it does not: a step of 0.01 crosses kinks of ReLU and pooling
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights, alphas = [draw(4, 3).requires_grad_(), draw(5).requires_grad_()], draw(6).requires_grad_()
    mixing = draw(12, 6), draw(5, 6)

    def loss():
        flat = [torch.tanh(weight.flatten() @ mix) for weight, mix in zip(weights, mixing, strict=True)]
        return ((flat[0] + flat[1]) * torch.sin(alphas)).sum()

    vectors = [[draw(4, 3), draw(5)], [draw(4, 3), draw(5)]]
    inputs = [alphas, *weights]
    exact, approximate = exact_product(loss, weights), finite_difference_product(loss, weights)
    for vector in vectors:
        for found, expected in zip(approximate(inputs, vector), exact(inputs, vector), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_first_order_leaves_the_answer_of_the_weights_out(problem):
    supernet, weights, drift, training_loss, losses = problem
    first = first_order(losses, supernet.alphas, no_reduction)
    second = unrolled(
        losses,
        training_loss,
        weights,
        supernet.alphas,
        step_size=0.0,
        drift=drift,
        product=exact_product,
        reduce=no_reduction,
    )
    for name in losses:
        torch.testing.assert_close(first[name].gradient, second[name].gradient, rtol=1e-12, atol=1e-15)
        assert first[name].gradient.norm() > 0


def test_finite_difference_of_a_zero_vector_is_zero(problem):
    supernet, weights, _, training_loss, _ = problem
    zeros = [torch.zeros_like(weight) for weight in weights]
    (product,) = finite_difference_product(training_loss, weights)([supernet.alphas], zeros)
    assert torch.equal(product, torch.zeros_like(supernet.alphas))


def test_moved_weights_come_back_bit_for_bit_even_after_an_error(problem):
    _, weights, drift, _, _ = problem
    before = [weight.detach().clone() for weight in weights]
    during = []

    def stop():
        during.append(weights[0].detach().clone())
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), moved(weights, drift):
        stop()
    assert not torch.equal(during[0], before[0])
    assert all(torch.equal(weight, old) for weight, old in zip(weights, before, strict=True))


def test_drift_is_what_sgd_adds_to_the_gradient():
    settings = WeightOptimizerSettings(learning_rate=0.1, momentum=0.9, weight_decay=0.01)
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(3, 2, dtype=torch.float64)) for _ in range(2)]
    optimizer = make_weight_optimizer(weights, settings)
    for _ in range(3):  # from the second step on there is momentum
        slopes = [torch.randn_like(weight) for weight in weights]
        added = drift(optimizer, weights)
        expected = [w.detach() - 0.1 * (g + d) for w, g, d in zip(weights, slopes, added, strict=True)]
        clipped_step(optimizer, weights, slopes, clip=None, figures=torch.zeros(1))
        for weight, value in zip(weights, expected, strict=True):
            torch.testing.assert_close(weight.detach(), value, rtol=1e-14, atol=1e-14)
