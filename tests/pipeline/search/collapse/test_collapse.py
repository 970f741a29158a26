"""Signs of collapse, and the guard that heeds them."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn import functional as F

from pipeline.search.collapse.guard import Guard, epoch_before_rise, epoch_before_skips
from pipeline.search.collapse.signs import (
    largest_eigenvalue,
    mean_entropy,
    skip_connections,
    weight_free_operations,
)
from pipeline.settings import GuardSettings
from search_space import PUBLISHED, SearchSpace, Supernet
from search_space.supernet.relaxation import DARTS, Relaxation
from tests.support.optimization.collapse_signs import signs
from tests.support.slowly import slowly


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def quadratic(matrix):
    """Alphas and a loss whose Hessian is the matrix."""
    alphas = torch.randn(len(matrix), generator=generator(1), dtype=torch.float64, requires_grad=True)
    return alphas, lambda: 0.5 * alphas @ torch.as_tensor(matrix) @ alphas


@pytest.mark.parametrize(
    "spectrum", [(3.0, 1.0, -0.5), (-5.0, 2.0, 1.0), (-4.0, -2.0, -1.0), (2.0, 0.0, 0.0), (7.0, 6.0, -6.9)]
)
def test_power_iteration_finds_the_largest_and_not_the_largest_in_size(spectrum):
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    alphas, loss = quadratic(rotation @ np.diag(spectrum) @ rotation.T)
    found = largest_eigenvalue(loss, alphas, iterations=3000, generator=generator())
    assert found.value == pytest.approx(max(spectrum), rel=1e-6)
    assert found.residual < 1e-3


def test_some_eigenvalue_lies_within_the_residual_however_few_the_products():
    for seed, iterations in itertools.product(range(10), (1, 2, 5)):
        matrix = np.random.default_rng(seed).normal(size=(12, 12))
        matrix = matrix + matrix.T
        alphas, loss = quadratic(matrix)
        found = largest_eigenvalue(loss, alphas, iterations=iterations, generator=generator(seed))
        distance = np.abs(np.linalg.eigvalsh(matrix) - found.value).min()
        assert distance <= found.residual * abs(found.value) * (1 + 1e-9)


@pytest.mark.parametrize("relaxation", [*slowly(DARTS), Relaxation(operations="sigmoid", normalised_edges=True)])
def test_the_eigenvalue_of_a_supernet_is_that_of_its_whole_hessian(relaxation):
    torch.manual_seed(1)
    space = SearchSpace(nodes=1, operations=("none", "skip_connect", "sep_conv_3x3", "avg_pool_3x3"))
    supernet = Supernet(space, channels=2, layers=3, num_classes=3, in_channels=1, relaxation=relaxation).double()
    images, labels = torch.rand(8, 1, 8, 8, dtype=torch.float64), torch.arange(8) % 3
    with torch.no_grad():
        supernet.alphas.normal_(generator=generator(2))

    def loss(alphas):
        return F.cross_entropy(functional_call(supernet, {"alphas": alphas}, (images,)), labels)

    hessian = torch.autograd.functional.hessian(loss, supernet.alphas.detach())
    size = supernet.alphas.numel()
    expected = np.linalg.eigvalsh(hessian.reshape(size, size).numpy())[-1]
    found = largest_eigenvalue(
        lambda: F.cross_entropy(supernet(images), labels), supernet.alphas, iterations=150, generator=generator()
    )
    assert found.value == pytest.approx(expected, rel=1e-5)


def test_published_cells_hold_the_skips_and_pools_of_their_figures():
    v2 = PUBLISHED["DARTS_V2"].genotype  # Liu et al. 2019, figures 4 and 5: 5 of 8 separable, 2 skips, a dilated one
    assert (weight_free_operations(v2.normal), weight_free_operations(v2.reduction)) == (2, 8)
    assert (skip_connections(v2.normal), skip_connections(v2.reduction)) == (2, 3)


def test_entropy_is_one_where_all_is_open_and_zero_where_all_is_decided():
    space = SearchSpace(nodes=1, operations=("skip_connect", "sep_conv_3x3", "noise"))
    narrow = SearchSpace(nodes=1, operations=space.operations, normal=(space.operations[:2],) * 2)
    for each in (space, narrow):
        assert mean_entropy(each.probabilities(torch.zeros(each.alpha_shape)), each.mask) == pytest.approx(1)
        decided = 80 * torch.eye(3)[[0, 1]].expand(2, 2, 3)
        assert mean_entropy(each.probabilities(decided), each.mask) == pytest.approx(0, abs=1e-12)
    strengths = torch.tensor([[[2.0, 1.0, 1.0]]])
    expected = (0.5 * math.log(2) + 0.5 * math.log(4)) / math.log(3)
    assert mean_entropy(strengths, torch.ones(1, 1, 3, dtype=torch.bool)) == pytest.approx(expected)


def test_no_rise_is_seen_in_eigenvalues_that_fall_stay_or_are_too_few():
    falling = [1 / epoch for epoch in range(1, 30)]
    for values in (falling, [1.0] * 30, [1.0, 9.0, 9.0, 9.0, 9.0], [-1.0] * 30):
        for epochs in range(len(values) + 1):
            assert epoch_before_rise(values[:epochs], window=5, ratio=0.75) is None


def test_a_rise_is_seen_at_the_first_epoch_whose_means_differ_by_the_ratio():
    for ratio, window, start in itertools.product((0.5, 0.75), (1, 3, 5), (8, 12)):
        values = [1.0] * start
        while epoch_before_rise(values, window=window, ratio=ratio) is None:
            values.append(1.02 * ratio ** (-1 / window) * values[-1])
            assert len(values) < 100
        # the means, written out
        now, before = (np.mean(part) for part in (values[-window:], values[-2 * window : -window]))
        assert before / now < ratio
        earlier = [np.mean(values[end - window : end]) for end in (len(values) - 1, len(values) - 1 - window)]
        assert earlier[1] / earlier[0] >= ratio
        assert epoch_before_rise(values, window=window, ratio=ratio) == len(values) - 1 - window


def test_one_outlier_does_not_stop_a_search_that_a_lasting_rise_stops():
    def epochs(values):
        return [end for end in range(len(values) + 1) if epoch_before_rise(values[:end], window=5, ratio=0.75)]

    assert not epochs([1.0] * 10 + [2.5] + [1.0] * 10)
    assert epochs([1.0] * 10 + [2.5] * 5)


def test_skips_go_back_to_the_last_epoch_that_had_few_enough():
    assert epoch_before_skips([], most=2) is None
    assert epoch_before_skips([0, 1, 2], most=2) is None
    assert epoch_before_skips([0, 2, 5, 3], most=2) == 1
    assert epoch_before_skips([5, 6], most=2) is None  # there is nothing to go back to


def test_a_guard_that_rolls_back_forgets_what_it_went_back_over_and_its_state_comes_back():
    settings = GuardSettings(action="rollback", rule="skips", most_skips=2)
    guard, found = Guard(settings), []
    for epoch, skips in enumerate([1, 2, 4, 3, 1, 9], start=1):
        restored = Guard(settings)
        restored.restore(json.loads(json.dumps(guard.state())))
        guard = restored
        found.append(guard.watch(epoch, signs(skips=skips)))
    assert found == [None, None, 2, 2, None, 5]
    assert guard.events == [{"after": 3, "back_to": 2}, {"after": 4, "back_to": 2}, {"after": 6, "back_to": 5}]
    assert not guard.has_stopped


def test_a_search_that_holds_skips_from_its_first_epoch_on_rolls_back_to_where_it_began():
    guard = Guard(GuardSettings(action="rollback", rule="skips", most_skips=2))
    assert [guard.watch(epoch, signs(skips=skips)) for epoch, skips in enumerate([7, 5, 1, 6], start=1)] == [
        0,
        0,
        None,
        3,
    ]
    stopping = Guard(GuardSettings(action="stop", rule="skips", most_skips=2))
    assert [stopping.watch(epoch, signs(skips=skips)) for epoch, skips in enumerate([7, 5, 1, 6], start=1)] == [
        None,
        None,
        None,
        3,
    ]


def test_a_guard_that_stops_does_so_at_the_first_rise_and_one_of_no_action_never():
    values = [1.0] * 6 + [4.0] * 6
    stopping, idle = Guard(GuardSettings(action="stop")), Guard(GuardSettings())
    back = [stopping.watch(epoch, signs(value)) for epoch, value in enumerate(values, start=1)]
    first = next(epoch for epoch, to in enumerate(back, start=1) if to is not None)
    assert back[first - 1] == first - 5
    assert stopping.has_stopped
    assert [idle.watch(epoch, signs(value)) for epoch, value in enumerate(values, start=1)] == [None] * 12
    assert not idle.has_stopped
