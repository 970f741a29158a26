"""Partial channels: what goes through the operations, what passes by, and where the shuffle puts it."""

import pytest
import torch
from torch.autograd import grad
from torch.nn import functional as F

from search_space import SearchSpace, Supernet
from search_space.network.skeleton import plan_skeleton
from search_space.supernet.supernet import SearchCell

SKIPS = SearchSpace(nodes=2, operations=("skip_connect", "none"))


def cell(partial, *, reduction=False, space=SKIPS, channels=8):
    torch.manual_seed(0)
    plans = plan_skeleton(channels=channels, layers=3, widths=space.widths).cells
    return SearchCell(space, next(plan for plan in plans if plan.reduction == reduction), partial)


def without_inputs(module):
    """The cell alone, its input convolutions left out."""
    module.inputs = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity()])
    return module


def test_with_identities_alone_every_channel_comes_through_and_is_shuffled():
    before, last = torch.randn(2, 2, 8, 6, 6, dtype=torch.float64)
    probabilities = torch.zeros(SKIPS.alpha_shape, dtype=torch.float64)
    probabilities[..., 0] = 1
    output = without_inputs(cell(4))(before, last, probabilities)
    first = (before + last).unflatten(1, (4, 2)).transpose(1, 2).flatten(1, 2)
    second = (before + last + first).unflatten(1, (4, 2)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(output, torch.cat([first, second], dim=1))


def test_edges_weigh_what_passes_them_by():
    before, last = torch.randn(2, 2, 8, 6, 6, dtype=torch.float64)
    probabilities = torch.full(SKIPS.alpha_shape, 0.0, dtype=torch.float64)
    probabilities[..., 1] = 1  # none: the operations give nothing
    probabilities[0, :2, 1] = torch.tensor([0.3, 0.7])  # of the first node's edges
    output = without_inputs(cell(2))(before, last, probabilities)[:, :8]
    passed = output.unflatten(1, (4, 2))[:, :, 1]  # shuffled: every second channel
    torch.testing.assert_close(passed, 0.3 * before[:, 4:] + 0.7 * last[:, 4:])
    assert (output.unflatten(1, (4, 2))[:, :, 0] == 0).all()


def test_a_reduction_pools_what_passes_by():
    before, last = torch.randn(2, 2, 16, 7, 7)
    module = without_inputs(cell(2, reduction=True))
    probabilities = torch.softmax(torch.zeros(SKIPS.alpha_shape), dim=-1)
    output = module(before, last, probabilities)[:, :16]
    assert output.shape[2:] == (4, 4)
    passed = output.unflatten(1, (8, 2))[:, :, 1]
    torch.testing.assert_close(passed, sum(F.max_pool2d(x[:, 8:], 2, ceil_mode=True) for x in (before, last)))


def test_a_supernet_of_parts_trains_and_is_smaller():
    whole, parts = (Supernet(SearchSpace(), channels=16, layers=3, partial_channels=k) for k in (1, 2))
    assert sum(w.numel() for w in parts.cells.parameters()) < 0.6 * sum(w.numel() for w in whole.cells.parameters())
    loss = F.cross_entropy(parts(torch.rand(4, 3, 16, 16)), torch.arange(4))
    slopes = grad(loss, [parts.alphas, *parts.weights()])
    assert all(torch.isfinite(slope).all() for slope in slopes)
    assert slopes[0].abs().sum() > 0


def test_parts_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="no part of 1 / 3"):
        Supernet(SearchSpace(), channels=8, layers=3, partial_channels=3)
    nasbench = SearchSpace(nodes=3, operations=("none", "skip_connect", "nor_conv_3x3"), family="nasbench201")
    with pytest.raises(ValueError, match="DARTS family"):
        Supernet(nasbench, channels=8, layers=5, partial_channels=2)
