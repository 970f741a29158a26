"""Parameters of 16 bits: they are rounded from weights in float32, in which all state is."""

import copy
import io

import pytest
import torch

from learned_optimizers import LearnedOptimizer
from tests.support.optimization.learned_steps import NAMES, optimized, problem, stepped, theta_of

DTYPES = (torch.bfloat16, torch.float16)


def halved(dtype, steps=6):
    """A problem whose numbers are all of that dtype, in it and in float32."""
    params, rows = problem(steps=steps, dtype=torch.float32)
    params, rows = [p.to(dtype) for p in params], [([g.to(dtype) for g in gs], *losses) for gs, *losses in rows]
    single = [p.float() for p in params], [([g.float() for g in gs], *losses) for gs, *losses in rows]
    return (params, rows), single


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_steps_are_those_of_float32_rounded_at_the_end(name, dtype):
    theta = theta_of(name, torch.float32)
    half, single = halved(dtype)
    found, expected = optimized(theta, *half), optimized(theta, *single)
    assert all(
        one.dtype == dtype and torch.equal(one, other.to(dtype)) for one, other in zip(found, expected, strict=True)
    )
    moved = [(one != start).any() for one, start in zip(found, half[0], strict=True)]
    assert all(moved) or name in ("mlp", "general")  # whose first steps are below the rounding of some of them


def test_steps_below_the_rounding_add_up():
    theta = theta_of("general", torch.float32)
    (params, rows), _ = halved(torch.bfloat16, steps=1)
    parameters = [torch.nn.Parameter(p.clone()) for p in params]
    optimizer = LearnedOptimizer(parameters, theta, lr=1e-4)
    for _ in range(20):  # the first ones are short
        stepped(optimizer, rows)
    weights = [optimizer.state[p]["weights"].view(p.shape) for p in parameters]
    single = optimized(theta, [p.float() for p in params], [([g.float() for g in gs], *ls) for gs, *ls in rows] * 20)
    for weight, start, far in zip(weights, params, single, strict=True):
        assert (weight != start).all()
        assert ((weight - start).abs() < 1e-2 * (far - start).abs().max()).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_all_state_is_in_float32_and_goes_through_a_file(name, dtype):
    theta = theta_of(name, torch.float32)
    (params, rows), _ = halved(dtype)
    parameters = [torch.nn.Parameter(p.clone()) for p in params]
    optimizer = LearnedOptimizer(parameters, theta)
    stepped(optimizer, rows[:3])
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    resumed = LearnedOptimizer([torch.nn.Parameter(p.detach().clone()) for p in parameters], theta)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    copied = copy.deepcopy(optimizer)
    expected = stepped(optimizer, rows[3:])
    for other in (resumed, copied):
        assert all(torch.equal(a, b) for a, b in zip(stepped(other, rows[3:]), expected, strict=True))
        states = other.state_dict()["state"].values()
        assert {value.dtype for state in states for value in state.values()} == {torch.float32}


def test_weights_that_somebody_else_sets_are_taken_as_they_are():
    theta = theta_of("general", torch.float32)
    (params, rows), _ = halved(torch.bfloat16, steps=2)
    parameters = [torch.nn.Parameter(p.clone()) for p in params]
    optimizer = LearnedOptimizer(parameters, theta, lr=1e-6)
    stepped(optimizer, rows[:1])
    with torch.no_grad():
        parameters[0].fill_(3.0)
    stepped(optimizer, rows[1:])
    assert torch.equal(parameters[0], torch.full_like(parameters[0], 3.0))
    assert (optimizer.state[parameters[0]]["weights"] - 3).abs().max() < 1e-3


def test_gradients_whose_norm_is_beyond_float16_are_no_reason_to_stop():
    weight = torch.nn.Parameter(torch.ones(64, dtype=torch.float16))
    optimizer = LearnedOptimizer([weight], theta_of("general", torch.float32))
    weight.grad = torch.full_like(weight, 6e4)
    optimizer.step()
    assert weight.isfinite().all()
    assert (weight < 1).all()
