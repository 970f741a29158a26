"""The comparison of the learned sequence with fully connected networks, and the picture of its stages."""

import continuation_network
import numpy as np
import pytest
import torch
from continuation_network import Trained, trained, verdict
from network_parts.fully_connected import FullyConnected
from network_parts.simulations import Pool
from network_parts.stage_picture import draw_stages, stage_errors

from analytic_continuation.training.network_training import judged
from analytic_continuation.unrolled.model_files import load_model
from analytic_continuation.unrolled.network import UnrolledNetwork
from analytic_continuation.unrolled.window import STEP


@pytest.fixture(scope="module")
def pool():
    return Pool(seed=0, spectra=20)


def test_a_step_sees_the_same_batch_whenever_it_is_taken(pool):
    first, again, other = pool.batch(3, 4), pool.batch(3, 4), pool.batch(4, 4)
    assert torch.equal(first.problems.coefficients, again.problems.coefficients)
    assert not torch.equal(first.noise, other.noise)


def test_a_fully_connected_network_gives_densities_of_integral_1(pool):
    (density,) = FullyConnected(8)(pool.batch(0, 5).problems)
    ends = (density[:, 0] + density[:, -1]) / 2
    torch.testing.assert_close((density.sum(dim=1) - ends) * STEP, torch.ones(5))
    assert density.min() >= 0


def test_training_counts_the_weights_that_make_the_density(pool):
    torch.manual_seed(0)
    found = trained(UnrolledNetwork(stages=2, channels=2), "learned sequence", 2, 2, pool, lambda _: None)
    network = UnrolledNetwork(stages=2, channels=2)
    assert found.parameters == sum(each.numel() for each in network.parameters()) - sum(
        each.numel() for each in network.error.parameters()
    )
    assert 0 < found.error < 2


def test_the_verdict_names_the_smallest_network_that_is_as_good():
    ours = Trained("learned sequence", 2, 100, 1, 0.3, 1.0)
    others = [Trained("fully connected", width, 10 * width, 1, error, 1.0) for width, error in ((9, 0.4), (50, 0.29))]
    assert "the smallest fully connected one that does has 500 (0.290)" in verdict([ours, *others])
    assert "no fully connected network does: the best has 0.400 with 90" in verdict([ours, others[0]])


def test_the_last_stage_is_the_spectrum_and_all_are_drawn(pool):
    model = load_model()
    rows = stage_errors(model, pool.judging[:1])
    assert [number for number, _, _ in rows] == list(range(1, model.stages + 1))
    assert rows[-1][1] == pytest.approx(judged(model.network, pool.judging[:1]).mean().item(), rel=1e-4)
    picture = draw_stages(model, np.random.default_rng(0))
    assert picture.png.startswith(b"\x89PNG")
    assert continuation_network.report([], rows).count("\n| ") >= model.stages
