"""Bounds on the network to be derived."""

import pytest
import torch

from pipeline.search.objectives import (
    Bound,
    check_attainable,
    derive_within_bounds,
    project_onto_bounds,
    resource_losses,
)
from search_space import CostTable, NetworkShape, SearchSpace, network_cost
from tests.support.slowly import slowly

SHAPE = {"channels": 4, "layers": 5, "num_classes": 10, "image_size": 8, "in_channels": 1}


@pytest.fixture(scope="module")
def table():
    return CostTable(SearchSpace(), NetworkShape(**SHAPE))


@pytest.mark.parametrize(
    ("lower", "upper", "value", "violation"),
    [(None, 100, 150, 0.5), (None, 100, 100, 0), (80, 100, 90, 0), (80, None, 60, 0.25), (80, 100, 60, 0.25)],
)
def test_violation_is_the_part_of_the_bound_that_is_broken(lower, upper, value, violation):
    bound = Bound("parameters", lower, upper)
    assert bound.violation(torch.tensor(float(value))).item() == pytest.approx(violation)


def test_value_is_that_of_the_derived_network_and_gradient_that_of_the_expected_cost(table):
    generator = torch.Generator().manual_seed(0)
    alphas = torch.randn(table.space.alpha_shape, generator=generator, requires_grad=True)
    exact = network_cost(table.space.derive(alphas), **SHAPE)
    upper = exact.parameters / 1.25
    loss = resource_losses({"parameters": Bound("parameters", None, upper)}, table, alphas)["parameters"]()
    assert loss.item() == pytest.approx(0.25)
    (slope,) = torch.autograd.grad(loss, alphas)
    (expected,) = torch.autograd.grad(table.expected(torch.softmax(alphas, -1))[0] / upper, alphas)
    torch.testing.assert_close(slope, expected)


def test_following_the_gradient_brings_the_derived_network_inside_its_bounds(table):
    low, high = table.reachable("parameters")
    for part in (0.2, 0.5, 0.8):
        middle = low + part * (high - low)
        bounds = {"parameters": Bound("parameters", middle * 0.97, middle * 1.03)}
        generator = torch.Generator().manual_seed(1)
        alphas = (1e-3 * torch.randn(table.space.alpha_shape, generator=generator)).requires_grad_()
        optimizer = torch.optim.Adam([alphas], lr=0.01)
        loss = resource_losses(bounds, table, alphas)["parameters"]
        for _ in range(500):
            value = loss()
            if value.item() == 0:
                break
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        assert middle * 0.97 <= table.exact(table.space.derive(alphas))[0].item() <= middle * 1.03


def test_alphas_settle_inside_bounds_over_the_whole_reachable_range(table):
    generator = torch.Generator().manual_seed(2)
    low, high = table.reachable("parameters")
    least, most = table.reachable("conv_linear_macs")
    for part in torch.rand(10, generator=generator).tolist():
        parameters, macs = low + part * (high - low), least + part * (most - least)
        bounds = {
            "parameters": Bound("parameters", 0.9 * parameters, 1.1 * parameters),
            "macs": Bound("conv_linear_macs", None, 1.2 * macs),
        }
        if not table.attainable({bound.quantity: (bound.lower, bound.upper) for bound in bounds.values()}):
            continue
        alphas = (0.1 * torch.randn(table.space.alpha_shape, generator=generator)).requires_grad_()
        assert project_onto_bounds(bounds, table, alphas), part
        exact = table.exact(table.space.derive(alphas))
        assert 0.9 * parameters <= exact[0].item() <= 1.1 * parameters
        assert exact[1].item() <= 1.2 * macs


@pytest.mark.parametrize(("width", "count"), [(0.001, 2), *slowly((0.05, 20))])
def test_the_genotype_is_inside_bounds_however_narrow(table, width, count):
    generator = torch.Generator().manual_seed(3)
    for _ in range(count):
        size, macs, _ = table.exact(table.space.random_genotype(generator)).tolist()
        bounds = {
            "parameters": Bound("parameters", (1 - width) * size, (1 + width) * size),
            "macs": Bound("conv_linear_macs", (1 - width) * macs, (1 + width) * macs),
        }
        alphas = torch.randn(table.space.alpha_shape, generator=generator).requires_grad_()
        found = table.exact(derive_within_bounds(bounds, table, alphas))
        assert abs(found[0] - size) <= width * size
        assert abs(found[1] - macs) <= width * macs


def test_alphas_that_cannot_settle_stay_as_they_were(table):
    low, _ = table.reachable("parameters")
    alphas = torch.zeros(table.space.alpha_shape, requires_grad=True)
    assert not project_onto_bounds({"parameters": Bound("parameters", None, low - 1)}, table, alphas, steps=5)
    assert not alphas.any()


def test_bounds_that_no_cell_meets_are_refused_with_the_reachable_range(table):
    low, high = table.reachable("parameters")
    for lower, upper in ((high + 1, None), (None, low - 1), (low + 1, low + 1)):
        with pytest.raises(ValueError, match=f"reachable.*{low:,} to {high:,}"):
            check_attainable({"parameters": Bound("parameters", lower, upper)}, table)
    check_attainable({"parameters": Bound("parameters", low, low)}, table)
