"""Learned optimizers: published sizes, what a step computes, and what must not change it."""

import copy
import io

import pytest
import torch

from learned_optimizers import LearnedOptimizer, architecture
from learned_optimizers.architectures.batch import spans
from tests.support.optimization.learned_steps import (
    NAMES,
    close,
    functional,
    optimized,
    plain,
    problem,
    stepped,
    theta_of,
)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_that_of_the_description_read_element_by_element(name):
    theta = theta_of(name)
    params, rows = problem(steps=14 if name == "general" else 4)  # whose first steps are short
    expected = plain(theta, params, rows)
    assert min((p - e).abs().max() for p, e in zip(params, expected, strict=True)) > 1e-4  # there is something to see
    close(functional(theta, params, rows), expected, 1e-12)
    close(optimized(theta, params, rows), expected, 1e-12)
    single = theta.with_vector(theta.vector().float())
    rows = [([g.float() for g in gradients], *losses) for gradients, *losses in rows]
    close(optimized(single, [p.float() for p in params], rows), [e.float() for e in expected])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("chunk", [1, 4, 13, 1000])
def test_blocks_of_any_size_give_the_same_step(name, chunk):
    theta = theta_of(name)
    params, rows = problem()
    close(optimized(theta, params, rows, chunk=chunk), functional(theta, params, rows), 1e-13)


@pytest.mark.parametrize("chunk", [1, 7, 100])
@pytest.mark.parametrize("sizes", [(1,), (250, 1, 30, 99, 2, 3), (5, 5, 5), (1000,)])
def test_blocks_hold_every_element_once_and_none_is_far_above_the_chunk(chunk, sizes):
    found = []
    for span in spans(sizes, chunk):
        members = range(len(sizes))[span.members]
        parts = [range(sizes[i]) if span.elements is None else range(sizes[i])[span.elements] for i in members]
        assert sum(map(len, parts)) <= max(1.5 * chunk, 1)
        assert (span.elements is None) == (len(members) > 1)
        found += [(i, j) for i, part in zip(members, parts, strict=True) for j in part]
    assert found == [(i, j) for i, size in enumerate(sizes) for j in range(size)]


@pytest.mark.parametrize("name", NAMES)
def test_permuting_tensors_and_elements_permutes_the_updates(name):
    theta = theta_of(name, torch.float32)
    params, rows = problem(dtype=torch.float32)
    generator = torch.Generator().manual_seed(5)
    orders = [torch.randperm(p.numel(), generator=generator) for p in params]
    tensors = [2, 0, 3, 1]

    def permuted(values):
        # sizes stay and the log shape is part of what is seen, so elements move within their tensor's own shape
        within = [v.flatten()[order].view(v.shape) for v, order in zip(values, orders, strict=True)]
        return [within[i] for i in tensors]

    expected = permuted(optimized(theta, params, rows))
    close(optimized(theta, permuted(params), [(permuted(g), *rest) for g, *rest in rows]), expected)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "general"])  # which has a designed step then
def test_zero_meta_parameters_move_nothing(name):
    theta = theta_of(name, scale=0.0)
    params, rows = problem()
    close(optimized(theta, params, rows), params, 0)


@pytest.mark.parametrize("name", NAMES)
def test_two_runs_give_the_same_bits(name):
    theta = theta_of(name, torch.float32)
    params, rows = problem(dtype=torch.float32)
    close(optimized(theta, params, rows), optimized(theta, params, rows), 0)


def test_a_look_at_the_validation_loss_moves_nothing_but_is_seen_in_the_next_step():
    theta = theta_of("hierarchical")
    params, rows = problem()
    optimizer = LearnedOptimizer([torch.nn.Parameter(p.clone()) for p in params], theta)
    before = stepped(optimizer, rows[:2])
    before, accumulators = [p.clone() for p in before], copy.deepcopy(optimizer.state_dict()["state"])
    optimizer.observe_validation(7.0)
    parameters = optimizer.param_groups[0]["params"]
    assert all(torch.equal(p, b) for p, b in zip(parameters, before, strict=True))
    for number, state in optimizer.state_dict()["state"].items():
        assert all(torch.equal(value, accumulators[number][name]) for name, value in state.items())
    seen = [p.clone() for p in stepped(optimizer, rows[2:3])]
    unseen = optimized(theta, params, rows[:3])
    assert max((a - b).abs().max() for a, b in zip(seen, unseen, strict=True)) > 1e-9


def test_a_look_beside_a_step_is_a_look_before_it():
    theta = theta_of("hierarchical")
    params, rows = problem()
    optimizer = LearnedOptimizer([torch.nn.Parameter(p.clone()) for p in params], theta)
    for gradients, loss, valid_loss in rows:
        if valid_loss is not None:
            optimizer.observe_validation(valid_loss)
        stepped(optimizer, [(gradients, loss, None)])
    close(optimizer.param_groups[0]["params"], optimized(theta, params, rows), 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_ends_in_the_same_bits(name):
    theta = theta_of(name, torch.float32)
    params, rows = problem(dtype=torch.float32)
    parameters = [torch.nn.Parameter(p.clone()) for p in params]
    optimizer = LearnedOptimizer(parameters, theta)
    stepped(optimizer, rows[:2])
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "params": [p.detach() for p in parameters]}, file)
    expected = stepped(optimizer, rows[2:])
    file.seek(0)
    stored = torch.load(file, weights_only=True)
    resumed = LearnedOptimizer([torch.nn.Parameter(p) for p in stored["params"]], theta)
    resumed.load_state_dict(stored["optimizer"])
    close(stepped(resumed, rows[2:]), expected, 0)


def test_the_state_of_another_optimizer_is_refused():
    params, rows = problem()

    def make(theta, values=params):
        return LearnedOptimizer([torch.nn.Parameter(p.clone()) for p in values], theta)

    optimizer = make(theta_of("mlp"))
    stepped(optimizer, rows[:1])
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"expected the state of mlp with theta .*, found that of mlp, "):
        make(theta_of("mlp", scale=2.0)).load_state_dict(state)
    with pytest.raises(ValueError, match="expected the state of hierarchical with theta"):
        make(theta_of("hierarchical")).load_state_dict(state)
    with pytest.raises(ValueError, match="found no learned optimizer's"):
        optimizer.load_state_dict(torch.optim.SGD([torch.zeros(1)], lr=1).state_dict())
    with pytest.raises(ValueError, match=r"expected momenta of parameter 0 to be \[6, 2\], found \[6, 12\]"):
        make(theta_of("mlp"), [torch.zeros(2), *params[1:]]).load_state_dict(state)


def test_a_state_of_a_version_that_kept_fewer_figures_is_refused():
    optimizer = LearnedOptimizer([torch.nn.Parameter(torch.ones(3))], theta_of("general"))
    state = optimizer.state_dict()
    del state["shared"]["state"]["restraint"]
    with pytest.raises(ValueError, match=r"'restraint'.*as of another version"):
        optimizer.load_state_dict(state)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_without_a_gradient_are_left_out(name):
    theta = theta_of(name)
    params, rows = problem()
    parameters = [torch.nn.Parameter(p.clone()) for p in params]
    idle = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = LearnedOptimizer([idle, *parameters], theta)
    for gradients, loss, valid_loss in rows:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step(loss=loss, valid_loss=valid_loss)
    assert torch.equal(idle, torch.ones_like(idle))
    close(parameters, functional(theta, params, rows), 1e-13)


def test_groups_are_one_set_of_parameters_and_have_their_own_rates():
    theta = theta_of("hierarchical")
    params, rows = problem(steps=1)
    parameters = [torch.nn.Parameter(p.clone()) for p in params]
    optimizer = LearnedOptimizer(parameters[:2], theta)
    optimizer.add_param_group({"params": parameters[2:], "lr": 0.5})
    stepped(optimizer, rows)
    whole = functional(theta, params, rows)
    for index, (found, start, full) in enumerate(zip(parameters, params, whole, strict=True)):
        rate = 1.0 if index < 2 else 0.5
        torch.testing.assert_close(found.detach() - start, rate * (full - start), rtol=1e-9, atol=1e-15)


def test_a_closure_gives_the_loss_and_the_gradients():
    theta = theta_of("hierarchical")
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.float64))
    optimizer = LearnedOptimizer([weight], theta)

    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4
    (expected,) = functional(
        theta, [torch.ones(4).double()], [([torch.full((4,), 2.0).double()], torch.tensor(4.0), None)]
    )
    close([weight.detach()], [expected], 1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_another_memory_format_gives_the_same_step(name):
    theta = theta_of(name)
    params, rows = problem(shapes=((2, 3, 4, 4), (5,)))
    weight = torch.nn.Parameter(params[0].to(memory_format=torch.channels_last))
    found = stepped(LearnedOptimizer([weight, torch.nn.Parameter(params[1].clone())], theta), rows)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    close(found, functional(theta, params, rows), 1e-13)


def test_parameters_of_two_precisions_are_one_set():
    theta = theta_of("hierarchical", torch.float32)
    params, rows = problem()
    mixed = [params[0].float(), *params[1:]]
    parameters = [torch.nn.Parameter(p.clone()) for p in mixed]
    optimizer = LearnedOptimizer(parameters, theta)
    for gradients, loss, valid_loss in rows:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.to(parameter.dtype)
        optimizer.step(loss=loss, valid_loss=valid_loss)
    expected = functional(theta.with_vector(theta.vector().double()), params, rows)
    close([p.detach().double() for p in parameters], expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused_and_changes_nothing(bad):
    theta = theta_of("hierarchical")
    params, rows = problem()
    optimizer = LearnedOptimizer([torch.nn.Parameter(p.clone()) for p in params], theta)
    before = [p.clone() for p in stepped(optimizer, rows[:1])]
    state = copy.deepcopy(optimizer.state_dict())
    (gradients, loss, _), parameters = rows[1], optimizer.param_groups[0]["params"]
    with pytest.raises(FloatingPointError, match="the training loss is not finite"):
        stepped(optimizer, [(gradients, torch.tensor(bad), None)])
    with pytest.raises(FloatingPointError, match="the validation loss is not finite"):
        optimizer.observe_validation(bad)
    with pytest.raises(FloatingPointError, match="a gradient is not finite"):
        stepped(optimizer, [([torch.full_like(g, bad) for g in gradients], loss, loss)])
    assert all(torch.equal(p, b) for p, b in zip(parameters, before, strict=True))
    after = optimizer.state_dict()
    assert all(torch.equal(after["shared"]["state"][name], value) for name, value in state["shared"]["state"].items())
    assert torch.equal(after["state"][0]["momenta"], state["state"][0]["momenta"])


def test_what_cannot_be_optimized_is_refused_in_one_line():
    theta = theta_of("mlp", torch.float32)
    with pytest.raises(ValueError, match=r"expected floating-point parameters of .* found parameters of torch.compl"):
        LearnedOptimizer([torch.zeros(2, dtype=torch.complex64, requires_grad=True)], theta)
    with pytest.raises(ValueError, match="found lr=-1"):
        LearnedOptimizer([torch.zeros(2, requires_grad=True)], theta, lr=-1)
    with pytest.raises(ValueError, match="expected chunk of at least 1"):
        LearnedOptimizer([torch.zeros(2, requires_grad=True)], theta, chunk=0)
    table = torch.nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="expected dense gradients, found a sparse one"):
        LearnedOptimizer(table.parameters(), theta).step()
    weight = torch.ones(2, requires_grad=True)
    weight.grad = torch.ones(2)
    with pytest.raises(ValueError, match="expected the training loss"):
        LearnedOptimizer([weight], theta_of("hierarchical", torch.float32)).step()
    rule = architecture("mlp")
    state = rule.initial_state(theta.tensors, [torch.ones(2)])
    with pytest.raises(ValueError, match=r"found parameters \[\[2\]\] and gradients \[\[3\]\]"):
        rule.update(theta.tensors, state, [torch.ones(2)], [torch.ones(3)])
    with pytest.raises(ValueError, match="expected state of 3 elements, found momenta of 2"):
        rule.update(theta.tensors, state, [torch.ones(3)], [torch.ones(3)])
