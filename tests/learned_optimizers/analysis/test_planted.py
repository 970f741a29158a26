"""What was planted in an optimizer is found in it, to the figures, and nothing else is."""

from functools import cache

import pytest
import torch

from learned_optimizers.analysis.analysis import analyse
from learned_optimizers.analysis.linearisation import modes
from learned_optimizers.analysis.mechanisms import adaptation, clipping, schedule
from learned_optimizers.analysis.of_torch import torch_function
from learned_optimizers.analysis.step_function import Moment
from learned_optimizers.analysis.trainings import sample_tasks, train
from learned_optimizers.analysis.verdicts import verdicts_on
from tests.support.optimization.planted import Planted

STEPS = 24
MECHANISMS = ("momentum", "gradient clipping", "learning rate schedule", "learning rate adaptation")


def planted(**settings):
    return torch_function(lambda params: Planted(params, **settings), "planted")


@cache
def tasks():
    return sample_tasks("quadratics_5", count=2, seed=1)


def analysed(function):
    return analyse(function, tasks(), steps=STEPS)


def found_in(analysis):
    return {verdict.mechanism for verdict in verdicts_on(analysis) if verdict.found}


def real(mode):
    assert abs(mode.decay.imag) + abs(mode.step_size.imag) < 1e-9
    return mode.decay.real, mode.step_size.real


@pytest.mark.parametrize(
    "function",
    [
        planted(lr=0.3, momenta=(0.9,)),
        torch_function(lambda params: torch.optim.SGD(params, lr=0.3, momentum=0.9), "SGD"),
    ],
)
def test_the_heavy_ball_has_one_mode_and_no_other_mechanism(function):
    found = analysed(function)
    (mode,) = found.momentum.modes
    assert real(mode) == pytest.approx((0.9, 0.3), abs=1e-6)
    assert found.momentum.speeds.max() < 1e-12
    assert found_in(found) == {"momentum"}


def test_each_mode_of_aggregated_momentum_is_found():
    found = analysed(planted(lr=0.3, momenta=(0.0, 0.9, 0.99)))
    assert sorted(map(real, found.momentum.modes)) == [
        pytest.approx((decay, 0.1), abs=1e-6) for decay in (0.0, 0.9, 0.99)
    ]


def test_nesterov_s_momentum_moves_once_more_at_once():
    function = torch_function(lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9, nesterov=True), "NAG")
    found = modes(function, torch.zeros(1).double(), 0.0, Moment(3, 1.0), torch.ones(1).double(), 1.0)
    assert sorted(map(real, found)) == [pytest.approx((0.0, 0.3), abs=1e-6), pytest.approx((0.9, 0.27), abs=1e-6)]


@pytest.mark.parametrize("limit", [0.02, 0.5])
def test_the_knee_of_clipping_is_where_it_was_planted(limit):
    found = analysed(planted(lr=0.3, clip=limit))
    assert found.clipping.knee == pytest.approx(limit, rel=0.01)
    assert found.clipping.beyond == (found.visited.gradients.abs() > found.clipping.knee).double().mean()
    assert found_in(found) == {"gradient clipping"}


def test_a_decaying_rate_is_recovered():
    found = analysed(planted(lr=0.3, decay=0.95))
    expected = 0.3 * 0.95 ** torch.arange(STEPS, dtype=torch.float64)
    torch.testing.assert_close(found.schedule.rates, expected, rtol=1e-3, atol=0)
    assert found_in(found) == {"learning rate schedule"}


def test_the_gain_of_rmsprop_is_that_of_its_formula():
    rate, eps = 0.01, 0.3
    function = planted(lr=rate, second=0.9, eps=eps)
    found = analysed(function)
    sizes = found.adaptation.sizes
    torch.testing.assert_close(found.adaptation.gains, rate / (sizes**2 + eps).sqrt(), rtol=1e-6, atol=0)
    torch.testing.assert_close(found.adaptation.slopes, rate / (sizes**2 + eps).sqrt(), rtol=1e-6, atol=0)
    torch_s = torch_function(lambda p: torch.optim.RMSprop(p, lr=rate, alpha=0.9), "RMSprop")
    visited = train(torch_s, tasks(), STEPS, seed=0)
    by_torch = adaptation(torch_s, visited, 5)
    torch.testing.assert_close(by_torch.gains, rate / (by_torch.sizes + 1e-8), rtol=1e-6, atol=0)
    assert by_torch.exponent == pytest.approx(-1, abs=1e-3)


def test_plain_sgd_has_none_of_the_mechanisms():
    found = analysed(torch_function(lambda params: torch.optim.SGD(params, lr=0.3), "SGD"))
    assert found_in(found) == set()
    assert [real(mode) for mode in found.momentum.modes] == [pytest.approx((0.0, 0.3), abs=1e-9)]
    assert found.clipping.ratio == pytest.approx(1, abs=1e-6)
    assert found.schedule.span == pytest.approx(1, abs=1e-6)
    assert found.adaptation.ratio == pytest.approx(1, abs=1e-6)


def test_a_combination_of_all_four_is_taken_apart():
    settings = {"lr": 0.2, "momenta": (0.8,), "clip": 0.3, "decay": 0.97, "second": 0.9, "eps": 1e-3}
    found = analysed(planted(**settings))
    assert found_in(found) == set(MECHANISMS)
    leading = found.momentum.leading
    rate = 0.2 * 0.97**found.moment.step / 1e-3**0.5
    assert real(leading) == pytest.approx((0.8, rate), rel=1e-4)
    assert found.clipping.knee == pytest.approx(0.3, rel=0.01)
    changes = found.schedule.rates / found.schedule.rates[0]
    torch.testing.assert_close(changes, 0.97 ** torch.arange(STEPS, dtype=torch.float64), rtol=1e-3, atol=0)
    sizes = found.adaptation.sizes.clamp(max=0.3)
    slopes = 0.2 * 0.97**found.moment.step / (sizes**2 + 1e-3).sqrt()
    torch.testing.assert_close(found.adaptation.slopes, slopes, rtol=1e-4, atol=0)


def test_adam_is_momentum_about_a_typical_gradient_whose_rate_adapts():
    function = torch_function(lambda params: torch.optim.Adam(params, lr=0.1), "Adam")
    found = analysed(function)
    assert found.momentum.gradient == found.visited.size
    assert found.momentum.leading.decay.real == pytest.approx(0.9, abs=1e-4)
    assert found.adaptation.exponent == pytest.approx(-1, abs=1e-2)
    assert {"momentum", "learning rate adaptation"} <= found_in(found)


def test_an_update_is_traced_where_a_schedule_and_a_clip_leave_it():
    function = planted(lr=0.3, clip=0.5, decay=0.9)
    visited = train(function, tasks(), STEPS, seed=0)
    found = clipping(function, visited, torch.zeros(1).double(), Moment(7, 1.0))
    torch.testing.assert_close(found.updates, 0.3 * 0.9**7 * found.gradients.clamp(-0.5, 0.5), rtol=1e-9, atol=1e-12)
    assert schedule(function, visited, 3).rates.tolist() == pytest.approx([0.3, 0.27, 0.243], rel=1e-6)
