"""The compiled step of a learned optimizer is that of PyTorch, to rounding, for all it is for, and in the same bits."""

import copy
import os
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import compiled
from learned_optimizers import ARCHITECTURES, LearnedOptimizer, Theta, architecture, load_theta, native
from tests.support.optimization.learned_steps import COMPILED, close, optimized, plain, problem, stepped, theta_of
from tests.support.scripts import ROOT

pytestmark = pytest.mark.skipif(native.library() is None, reason="installed without a C++ compiler")

SHAPES = ((), (3,), (17,), (0, 4), (10, 10, 10), (1000,), (2, 50))  # the fourth has no elements
FAR = 300.0  # a rate at which the rounding of a step is not lost in that of the parameter
ROUNDING = {"mlp": 1.0, "hierarchical": 1.0, "general": 30.0}  # of its plan, where corrections of first steps cancel
SINGLE = 2.0**-24  # relative rounding error of a float32


@pytest.fixture
def passes(monkeypatch):
    """Counts compiled second passes; `passes.off()` leaves all to PyTorch, `passes.on()` no longer."""
    library, original = native.library, native.step

    class Passes(list):
        def off(self):
            monkeypatch.setattr(native, "library", lambda: None)

        def on(self):
            monkeypatch.setattr(native, "library", library)

    counted = Passes()
    monkeypatch.setattr(native, "step", lambda *given: counted.append(1) or original(*given))
    return counted


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def instructions(request):
    """Each instruction set that this processor has."""
    level = ("baseline", "avx2", "avx512").index(request.param)
    if native.library().limit_instruction_set(level) != level:
        pytest.skip(f"no {request.param} here")
    yield
    native.library().limit_instruction_set(2)


def drawn(steps, shapes):
    """A problem of float32 with gradients of four sizes; the second parameter starts at zero, as biases do.

    Of the largest, some are clipped, but not all of a tensor: two of opposite signs would have a mean of exactly zero,
    whose sign is seen, and is that of rounding.
    """
    generator = torch.Generator().manual_seed(3)
    params = [torch.randn(shape, generator=generator) for shape in shapes]
    params[1].zero_()
    sizes = [(0.01, 0.1, 1.0, 5.0)[index % 4] for index in range(len(shapes))]
    rows = []
    for _ in range(steps):
        gradients = [size * torch.randn(shape, generator=generator) for size, shape in zip(sizes, shapes, strict=True)]
        rows.append((gradients, 0.5 + torch.rand((), generator=generator), None))
    return params, rows


def moves(theta, dtype, steps, shapes=SHAPES, **options):
    """By how much each parameter moved, in float64."""
    params, rows = drawn(steps, shapes)
    params = [p.to(dtype) for p in params]
    rows = [([g.to(dtype) for g in gradients], *losses) for gradients, *losses in rows]
    return [(a - b).double() for a, b in zip(optimized(theta, params, rows, **options), params, strict=True)]


def distance(found, expected):
    """Largest relative distance of a tensor's moves."""
    pairs = [(f, e) for f, e in zip(found, expected, strict=True) if e.numel()]
    return max(((f - e).norm() / e.norm()).item() for f, e in pairs)


@pytest.mark.parametrize("name", COMPILED)
def test_a_step_is_that_of_the_description_with_any_instruction_set(name, instructions, passes):
    theta = theta_of(name, torch.float32)
    params, rows = problem(dtype=torch.float32)
    close(optimized(theta, params, rows), [e.float() for e in plain(theta, params, rows)])
    assert len(passes) == len(rows)


@pytest.mark.parametrize("name", COMPILED)
def test_one_step_and_fifty_are_as_near_to_float64_as_those_of_pytorch(name, instructions, passes):
    theta = theta_of(name, torch.float32)
    for steps, bound in ((1, 1e-6 * ROUNDING[name]), (50, 1e-5 * ROUNDING[name])):
        rate = 1.0 if name == "general" and steps > 1 else FAR  # its later steps are long already
        exact = moves(theta, torch.float64, steps, lr=rate)
        assert not passes
        found = moves(theta, torch.float32, steps, lr=rate)
        assert len(passes) == steps
        passes.off()
        by_pytorch = moves(theta, torch.float32, steps, lr=rate)
        passes.on()
        passes.clear()
        assert distance(found, exact) < bound
        assert distance(found, by_pytorch) < bound + distance(by_pytorch, exact)


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("chunk", [1, 50, 999, 10**9])
def test_pieces_of_any_size_give_the_same_step(name, chunk, passes):
    theta, shapes = theta_of(name, torch.float32), ((3,), (1000,), (2500,))
    expected = moves(theta, torch.float32, 2, shapes, lr=FAR)
    found = moves(theta, torch.float32, 2, shapes, lr=FAR, chunk=chunk)
    assert len(passes) == 4
    assert distance(found, expected) < 1e-5


@pytest.mark.parametrize("name", COMPILED)
def test_many_tensors_are_computed_as_one_set(name, passes):
    theta, shapes = theta_of(name, torch.float32), [(size,) for size in range(1, 120)]
    found = moves(theta, torch.float32, 3, shapes, lr=FAR, chunk=64)
    passes.off()
    assert len(passes) == 3
    assert distance(found, moves(theta, torch.float64, 3, shapes, lr=FAR)) < 2e-5


@pytest.mark.parametrize("name", COMPILED)
def test_the_bits_are_those_of_one_thread(name):
    theta, shapes = theta_of(name, torch.float32), ((40_000,), (5,), (300, 70))
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3, 2):
            torch.set_num_threads(count)
            found.append(moves(theta, torch.float32, 3, shapes))
    finally:
        torch.set_num_threads(threads)
    for others in found[1:]:
        close(others, found[0], 0)


@pytest.mark.parametrize("name", COMPILED)
def test_groups_have_their_own_rates(name, passes):
    theta = theta_of(name, torch.float32)
    params, rows = drawn(1, SHAPES)

    def moved(*rates):
        parameters = [torch.nn.Parameter(p.clone()) for p in params]
        groups = [{"params": parameters[i :: len(rates)], "lr": rate} for i, rate in enumerate(rates)]
        by_group = [[gradients[i] for j in range(len(rates)) for i in range(j, len(params), len(rates))], *losses]
        stepped(LearnedOptimizer(groups, theta), [by_group])
        return [(a.detach() - b).double() for a, b in zip(parameters, params, strict=True)]

    gradients, *losses = rows[0]
    whole, halves = moved(FAR, FAR), moved(FAR, 0.5 * FAR)
    assert len(passes) == 2
    for index, (full, found) in enumerate(zip(whole, halves, strict=True)):
        torch.testing.assert_close(found, (0.5 if index % 2 else 1.0) * full, rtol=1e-4, atol=1e-6)


LAYOUTS = {
    "channels last": lambda values: values.to(memory_format=torch.channels_last),
    "transposed": lambda values: values.transpose(0, 2).contiguous().transpose(0, 2),
    "gaps": lambda values: torch.stack([values, values], -1)[..., 0],
}


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_gaps_and_orders_in_memory_do_not_matter(name, layout, passes):
    values, slopes = torch.randn(2, 8, 6, 5, 4, generator=torch.Generator().manual_seed(0))
    found = []
    for arrange in (layout, torch.clone):
        weight = torch.nn.Parameter(arrange(values))
        optimizer = LearnedOptimizer([weight], theta_of(name, torch.float32))
        for factor in (1.0, 0.1):
            weight.grad = arrange(factor * slopes)
            optimizer.step(loss=1.0)
        found.append(weight)
    assert found[0].stride() != found[1].stride()
    assert len(passes) == 4
    # sums come in another order
    close([w.detach() for w in found[:1]], [w.detach() for w in found[1:]], 1e-6)


@pytest.mark.parametrize("name", COMPILED)
def test_a_state_is_that_of_pytorch_there_and_back(name, passes):
    theta = theta_of(name, torch.float32)
    params, rows = drawn(6, SHAPES)
    expected = optimized(theta, params, rows, lr=FAR)
    parameters = [torch.nn.Parameter(p.clone()) for p in params]
    state = None
    for step, switch in ((0, passes.on), (2, passes.off), (4, passes.on)):
        switch()
        optimizer = LearnedOptimizer(parameters, theta, lr=FAR)
        if state is not None:
            optimizer.load_state_dict(state)
        stepped(optimizer, rows[step : step + 2])
        state = copy.deepcopy(optimizer.state_dict())
    assert len(passes) == 6 + 4
    found = [(p.detach() - start).double() for p, start in zip(parameters, params, strict=True)]
    assert distance(found, [(e - start).double() for e, start in zip(expected, params, strict=True)]) < 1e-5


@pytest.mark.parametrize("change", ["float64", "state with gaps", "torch.func", "switched off"])
def test_what_it_is_not_for_is_left_to_pytorch(change, passes, monkeypatch):
    theta = theta_of("mlp", torch.float32)
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.float64 if change == "float64" else torch.float32))
    weight.grad = torch.ones_like(weight)
    optimizer = LearnedOptimizer([weight], theta)
    if change == "state with gaps":
        optimizer.state[weight]["momenta"] = torch.zeros(6, 8)[:, ::2]
    if change == "switched off":
        monkeypatch.setenv("E2RNAS_COMPILED", "0")
        monkeypatch.setattr(native, "library", native.library.__wrapped__)
    if change == "torch.func":
        rule = architecture("mlp")
        state = rule.initial_state(theta.tensors, [weight])
        ((moved,), _) = rule.update(theta.tensors, state, [weight], [weight.grad])
    else:
        optimizer.step()
        moved = weight.detach()
    assert (moved != 1).all()
    assert not passes


def test_a_graph_from_before_a_compiled_step_is_refused_as_after_any_other_optimizers():
    parameter = torch.nn.Parameter(torch.ones(8))
    loss = parameter.pow(3).sum()
    loss.backward(retain_graph=True)
    LearnedOptimizer([parameter], load_theta("mlp")).step(loss=loss.detach())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_every_architecture_has_the_sizes_that_are_compiled():
    source = (ROOT / "learned_optimizers/native/kernels.cpp").read_text()
    hidden, most = map(int, re.search(r"int HIDDEN = (\d+), MOST_INPUTS = (\d+);", source).groups())
    compiled_rules = [rule for rule in map(architecture, ARCHITECTURES) if rule.is_compiled]
    assert len(compiled_rules) == len(COMPILED)
    for rule in compiled_rules:
        if rule.is_normalised:
            continue
        decays = len(rule.shares)
        assert rule.shapes["hidden.weight"] == (hidden, hidden)
        assert (3 + 4 * decays if "squares" in rule.accumulators else 2 + decays) <= most
        assert set(rule.accumulators.values()) == {decays}


def test_the_general_architecture_has_the_sizes_that_are_compiled():
    source = (ROOT / "learned_optimizers/native/general.inl").read_text()
    line = r"int MOMENTA = (\d+), SQUARES = (\d+), FEATURES = (\d+), WIDTH = (\d+), SAID = (\d+);"
    momenta, squares, features, width, said = map(int, re.search(line, source).groups())
    rule = architecture("general")
    assert rule.accumulators == {"momenta": momenta, "squares": squares}
    assert rule.sums == 4 + momenta + squares
    shapes = [rule.shapes[f"{layer}.weight"] for layer in ("input", "hidden", "output")]
    assert shapes == [(width, features), (width, width), (said, width)]


def test_a_build_from_older_sources_leaves_the_general_step_to_pytorch(monkeypatch, passes):
    class Older:
        accumulate_pass = step_pass = None

    monkeypatch.setattr(native, "library", Older)
    weight = torch.nn.Parameter(torch.ones(4))
    weight.grad = torch.ones(4)
    LearnedOptimizer([weight], theta_of("general", torch.float32)).step()
    assert (weight < 1).all()
    assert not passes


def test_the_switch_leaves_everything_to_pytorch(monkeypatch):
    modules = ("search_space.kernels.native._kernels", "learned_optimizers.native._kernels")
    assert all(compiled.load_library(module) is not None for module in modules)
    monkeypatch.setenv("E2RNAS_COMPILED", "0")
    assert all(compiled.load_library(module) is None for module in modules)
    monkeypatch.delenv("E2RNAS_COMPILED")
    assert compiled.load_library("learned_optimizers.native._not_built") is None


@pytest.mark.parametrize("name", COMPILED)
def test_what_is_not_a_number_does_not_become_one(name, passes):
    weight, healthy = torch.nn.Parameter(torch.tensor([1.0, float("nan"), 2.0])), torch.nn.Parameter(torch.ones(3))
    weight.grad, healthy.grad = torch.ones(3), torch.ones(3)
    # alone, since an LSTM is shared: what is wrong with one tensor reaches all
    for parameter in (weight, healthy):
        LearnedOptimizer([parameter], theta_of(name, torch.float32)).step(loss=1.0)
    assert len(passes) == 2
    assert weight.isnan().all()  # the root mean square of its tensor is no number
    assert healthy.isfinite().all()


def test_the_exponential_is_exact_to_a_few_roundings_and_ends_in_zero_and_infinity(instructions):
    tensors = {name: torch.zeros(shape) for name, shape in architecture("mlp").shapes.items()}
    arguments = [*np.linspace(-80, 80, 161), -1e-3, 1e-3, -300.0, 300.0]
    for argument in arguments:
        weight = torch.nn.Parameter(torch.zeros(1))
        weight.grad = torch.ones(1)
        magnitude = np.float32(1000 * argument)
        bias = torch.tensor([-1.0, float(magnitude)])
        LearnedOptimizer([weight], Theta("mlp", tensors | {"output.bias": bias})).step()
        with np.errstate(over="ignore"):
            expected = np.float64(np.float32(1e-3)) * np.exp(np.float64(np.float32(1e-3) * magnitude))
        if abs(argument) < 300:
            assert weight.item() == pytest.approx(expected, rel=5 * SINGLE)
        else:
            assert weight.item() == (0 if argument < 0 else float("inf"))


def test_logarithm_and_root_are_exact_to_a_few_roundings(instructions):
    generator = torch.Generator().manual_seed(0)
    sizes = 10.0 ** torch.cat([torch.linspace(-12, 30, 400), 1e-3 * torch.randn(100, generator=generator)])
    values = torch.cat([torch.zeros(1), sizes * torch.randn(500, generator=generator).sign()])
    gradients = values.clamp(-1e15, 1e15)
    states = [{"momenta": torch.zeros(5, 1), "squares": torch.zeros(5, 1)} for _ in values]
    elements = native.Elements(list(values[:, None]), list(gradients[:, None]), states, 1)
    sums = native.accumulate(architecture("hierarchical"), elements, {"gradient_rms": torch.full((501, 1), 1e18)})
    logarithms = np.log(np.float64(values.abs() + 1e-8))
    np.testing.assert_allclose(sums[:, 24 + 2], logarithms, rtol=2 * SINGLE)  # sums: after 24 of squares
    squares = torch.cat([state["squares"][:1] for state in states], 1)[0]
    np.testing.assert_allclose(squares, 0.5 * np.float64(gradients) ** 2, rtol=3 * SINGLE)
    np.testing.assert_allclose(sums[:, 18], 1 / np.float64(squares + 1e-8), rtol=6 * SINGLE)  # squared once more


@pytest.mark.parametrize("module", ["search_space.kernels.native._kernels", "learned_optimizers.native._kernels"])
def test_compiled_code_older_than_its_sources_is_left_out(module, tmp_path, monkeypatch):
    """Structures that have changed since would be read as they were."""
    built = find_spec(module)
    if built is None:
        pytest.skip("installed without a C++ compiler")
    library, source = tmp_path / Path(built.origin).name, tmp_path / "kernels.cpp"
    shutil.copy(built.origin, library)
    source.touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert compiled.load_library("_kernels") is not None
    os.utime(source, (0, library.stat().st_mtime + 3600))
    with pytest.warns(UserWarning, match="was compiled before its sources changed: install the project again"):
        assert compiled.load_library("_kernels") is None
