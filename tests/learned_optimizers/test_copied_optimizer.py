"""A learned optimizer that is copied or pickled steps as the first one does, and on its own, as torch's do."""

import copy
import io
import pickle

import pytest
import torch

from learned_optimizers import LearnedOptimizer
from tests.support.optimization.learned_steps import NAMES, problem, stepped, theta_of


def through_torch(value):
    written = io.BytesIO()
    torch.save(value, written)
    return torch.load(io.BytesIO(written.getvalue()), weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),  # noqa: S301 - our own
    "torch.save": through_torch,
}


def made(name, dtype, steps=6):
    params, rows = problem(steps=steps, dtype=dtype)
    groups = [{"params": params[:2], "lr": 0.5}, {"params": params[2:]}]
    return LearnedOptimizer(groups, theta_of(name, dtype), chunk=5), rows


@pytest.mark.parametrize("done", [0, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # the first in compiled code
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_steps_as_the_first_one_does_and_on_its_own(way, name, dtype, done):
    optimizer, rows = made(name, dtype)
    stepped(optimizer, rows[:done])
    copied = COPIES[way](optimizer)
    waits = COPIES[way](optimizer)
    expected = stepped(optimizer, rows[done:])
    for other in (copied, waits):  # the second one's state was not moved by the others' steps
        found = stepped(other, rows[done:])
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
        assert other.theta.fingerprint == optimizer.theta.fingerprint
        assert other.chunk == 5
    with pytest.raises(FloatingPointError, match="training loss is not finite"):
        copied.step(loss=float("nan"))


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", NAMES)
def test_a_copied_state_goes_on_in_another_optimizer(way, name):
    optimizer, rows = made(name, torch.float32)
    stepped(optimizer, rows[:3])
    state = COPIES[way](optimizer.state_dict())
    other, _ = made(name, torch.float32)
    with torch.no_grad():
        for ours, theirs in zip(other.param_groups, optimizer.param_groups, strict=True):
            for parameter, value in zip(ours["params"], theirs["params"], strict=True):
                parameter.copy_(value)
    other.load_state_dict(state)
    pairs = zip(stepped(optimizer, rows[3:]), stepped(other, rows[3:]), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_model_and_its_optimizer_are_copied_together():
    model = torch.nn.Linear(3, 2)
    optimizer = LearnedOptimizer(model.parameters(), theta_of("mlp", torch.float32))
    other, copied = copy.deepcopy((model, optimizer))
    assert copied.param_groups[0]["params"][0] is other.weight
    other(torch.ones(1, 3)).sum().backward()
    before = model.weight.clone()
    copied.step(loss=1.0)
    assert torch.equal(model.weight, before)
    assert not torch.equal(other.weight, before)
    copied.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]})
    assert len(optimizer.param_groups) == 1


def test_meta_parameters_inside_a_graph_are_copied_by_their_values():
    theta = theta_of("mlp", torch.float32)
    vector = theta.vector().requires_grad_()
    optimizer = LearnedOptimizer([torch.zeros(2)], theta.with_vector(vector * 2))
    copied = copy.deepcopy(optimizer)
    assert copied.theta.fingerprint == optimizer.theta.fingerprint
    assert not any(tensor.requires_grad for tensor in copied.theta.tensors.values())
