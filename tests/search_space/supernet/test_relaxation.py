"""From alphas to the weights of the mixture: what every relaxation keeps, and what each is for."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from scipy.stats import gamma

from pipeline.search.objectives import Bound, project_onto_bounds, resource_losses
from search_space import CostTable, NetworkShape, SearchSpace, Supernet, network_cost
from search_space.supernet.operation_weights import log_gamma_quantile
from search_space.supernet.relaxation import DARTS, Relaxation, RelaxationNoise, RelaxationState

SPACE = SearchSpace()
SMALL = {"channels": 4, "layers": 3, "num_classes": 10, "image_size": 8, "in_channels": 1}
NODES = [range(first, first + size) for first, size in ((0, 2), (2, 3), (5, 4), (9, 5))]
EVERY = {
    "softmax": DARTS,
    "sigmoid": Relaxation(operations="sigmoid", zero_one=10.0),
    "gumbel": Relaxation(operations="gumbel"),
    "dirichlet": Relaxation(operations="dirichlet"),
    "beta-decay": Relaxation(beta_decay=50.0),
    "normalised edges": Relaxation(normalised_edges=True),
    "auxiliary skip": Relaxation(auxiliary_skip=1.0),
    "dropout": Relaxation(dropout=0.4),
    "sampled operations": Relaxation(sampled_operations=2),
    "sampled edges": Relaxation(sampled_edges=2),
    "many at once": Relaxation(
        operations="sigmoid",
        normalised_edges=True,
        auxiliary_skip=0.5,
        dropout=0.2,
        sampled_operations=3,
        sampled_edges=2,
    ),
}
every = pytest.mark.parametrize("relaxation", EVERY.values(), ids=EVERY)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draw_alphas(relaxation, seed=0, scale=1.0):
    shape = relaxation.alpha_shape(SPACE)
    return scale * torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def draw(seed=0, space=SPACE, progress=0.5):
    return RelaxationState(progress, RelaxationNoise.draw(space, generator(seed), torch.device("cpu")))


def mean_weights(relaxation, alphas, count=4000):
    rng = generator(1)
    moments = (RelaxationState(0.5, RelaxationNoise.draw(SPACE, rng, torch.device("cpu"))) for _ in range(count))
    return sum(relaxation.weights(SPACE, alphas, state) for state in moments) / count


@every
def test_weights_and_strengths_are_finite_not_negative_and_of_the_operations_shape(relaxation):
    for seed, scale in itertools.product(range(5), (1e-3, 1.0, 30.0)):
        alphas = draw_alphas(relaxation, seed, scale)
        for values in (relaxation.weights(SPACE, alphas, draw(seed)), relaxation.strengths(SPACE, alphas)):
            assert tuple(values.shape) == SPACE.alpha_shape
            assert values.isfinite().all()
            assert values.min() >= 0


@every
def test_one_moment_gives_the_same_weights_and_a_finite_gradient_that_reaches_every_alpha_in_the_end(relaxation):
    alphas = draw_alphas(relaxation).requires_grad_()
    slope = torch.randn(SPACE.alpha_shape, generator=generator(3), dtype=torch.float64)
    reached = torch.zeros(relaxation.alpha_shape(SPACE), dtype=torch.bool)
    for seed in range(60):
        weights = relaxation.weights(SPACE, alphas, draw(seed))
        assert torch.equal(weights, relaxation.weights(SPACE, alphas, draw(seed)))
        (gradient,) = torch.autograd.grad((weights * slope).sum(), alphas)
        assert gradient.isfinite().all()
        reached |= gradient != 0
    assert reached.all()


@every
def test_without_chance_and_at_the_end_the_weights_are_the_strengths(relaxation):
    alphas = draw_alphas(relaxation)
    found = relaxation.weights(SPACE, alphas, RelaxationState(progress=1.0))
    torch.testing.assert_close(found, relaxation.strengths(SPACE, alphas), rtol=0, atol=0)


@every
def test_derivation_inverts_one_hot(relaxation):
    for seed in range(20):
        genotype = SPACE.random_genotype(generator(seed))
        one_hot = SPACE.one_hot(genotype)
        alphas = torch.log(one_hot + 1e-6)
        if relaxation.normalised_edges:
            alphas = torch.cat([alphas, torch.zeros(2, 14, 1, dtype=torch.float64)], dim=-1)
        assert relaxation.derive(SPACE, alphas) == genotype


def test_softmax_and_sigmoid_are_those_of_scipy():
    alphas = draw_alphas(DARTS)
    softmaxed = DARTS.weights(SPACE, alphas, RelaxationState())
    np.testing.assert_allclose(softmaxed.numpy(), softmax(alphas.numpy(), axis=-1), rtol=1e-13)
    squashed = EVERY["sigmoid"].weights(SPACE, alphas, RelaxationState())
    np.testing.assert_allclose(squashed.numpy(), expit(alphas.numpy()), rtol=1e-13)


def test_an_auxiliary_skip_adds_to_skips_alone_and_falls_in_a_line_to_nothing():
    alphas, skip = draw_alphas(DARTS), SPACE.operations.index("skip_connect")
    for progress in (0.0, 0.25, 1.0):
        added = EVERY["auxiliary skip"].weights(SPACE, alphas, RelaxationState(progress)) - torch.softmax(
            alphas, dim=-1
        )
        assert added[..., skip].unique().tolist() == pytest.approx([1 - progress] * len(added[..., skip].unique()))
        added[..., skip] = 0
        assert not added.any()


def test_normalised_edges_share_one_unit_at_each_node_as_scipy_says():
    relaxation = EVERY["normalised edges"]
    alphas = draw_alphas(relaxation)
    weights = relaxation.weights(SPACE, alphas, RelaxationState()).sum(dim=-1)
    for node in NODES:
        np.testing.assert_allclose(weights[:, node].numpy(), softmax(alphas[:, node, -1].numpy(), axis=-1), rtol=1e-12)


def test_an_edge_alpha_decides_which_edges_a_cell_keeps():
    relaxation = EVERY["normalised edges"]
    alphas = torch.zeros(relaxation.alpha_shape(SPACE))
    alphas[:, 9:14, -1] = torch.tensor([0.0, 3.0, 0.0, 0.0, 2.0])
    for cell in relaxation.derive(SPACE, alphas).cells.values():
        assert [edge.source for edge in cell.nodes[-1]] == [1, 4]


def test_sigmoids_do_not_compete_for_an_edge():
    relaxation = EVERY["sigmoid"]
    alphas = torch.zeros(SPACE.alpha_shape)
    alphas[:, 11, 3:5] = torch.tensor([4.0, 5.0])  # two strong operations: by softmax each has less than half
    alphas[:, 9, 6] = 4.5
    cells = relaxation.derive(SPACE, alphas).cells.values()
    for cell in cells:
        assert [(edge.operation, edge.source) for edge in cell.nodes[-1]] == [("dil_conv_3x3", 0), ("sep_conv_3x3", 2)]
    by_softmax = SPACE.derive(alphas).normal.nodes[-1]
    assert by_softmax[0].source == 0


def test_the_zero_one_loss_drives_sigmoids_away_from_a_half_as_its_derivative_says():
    relaxation, alphas = EVERY["sigmoid"], draw_alphas(DARTS)
    p = expit(alphas.numpy())
    expected = -10.0 * 2 * (p - 0.5) * p * (1 - p) / p.size
    found = relaxation.penalty_gradient(SPACE, alphas, RelaxationState(0.3))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_beta_decay_pulls_each_alpha_down_by_its_share_of_the_edge_and_grows_over_the_search(progress):
    relaxation, alphas = EVERY["beta-decay"], draw_alphas(DARTS)
    edges = alphas.shape[0] * alphas.shape[1]
    expected = 50.0 * progress / edges * softmax(alphas.numpy(), axis=-1)
    found = relaxation.penalty_gradient(SPACE, alphas, RelaxationState(progress))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_beta_decay_leaves_the_alphas_of_edges_alone():
    relaxation = Relaxation(beta_decay=1.0, normalised_edges=True)
    assert not relaxation.penalty_gradient(SPACE, draw_alphas(relaxation), RelaxationState(1.0))[..., -1].any()


def test_dirichlet_weights_have_the_moments_of_their_distribution():
    relaxation, alphas = EVERY["dirichlet"], draw_alphas(DARTS)
    concentrations = torch.nn.functional.elu(alphas) + 1
    total = concentrations.sum(dim=-1, keepdim=True)
    mean = concentrations / total
    torch.testing.assert_close(relaxation.strengths(SPACE, alphas), mean)
    variance = mean * (1 - mean) / (total + 1)
    found = mean_weights(relaxation, alphas, count=1000)
    assert ((found - mean).abs() < 5 * (variance / 1000).sqrt()).all()


def test_the_gradient_of_dirichlet_weights_is_the_pathwise_one_of_the_same_sample():
    relaxation, alphas = EVERY["dirichlet"], draw_alphas(DARTS).requires_grad_()
    state = draw()
    weights = relaxation.weights(SPACE, alphas, state)
    slope = torch.randn(weights.shape, generator=generator(5), dtype=torch.float64)
    (found,) = torch.autograd.grad((weights * slope).sum(), alphas)
    for place in [(0, 0, 0), (1, 13, 7), (0, 5, 3)]:
        with torch.no_grad():
            up, down = alphas.clone(), alphas.clone()
            up[place] += 1e-5
            down[place] -= 1e-5
            moved = relaxation.weights(SPACE, up, state) - relaxation.weights(SPACE, down, state)
        assert found[place].item() == pytest.approx((moved * slope).sum().item() / 2e-5, rel=1e-4, abs=1e-6)


def test_quantiles_of_gamma_variables_are_those_of_scipy_from_tiny_to_large_concentrations():
    concentrations = torch.logspace(-2, 2, 60, dtype=torch.float64).repeat(5)
    chances = torch.tensor([2.0**-24, 0.01, 0.5, 0.99, 1 - 2.0**-24], dtype=torch.float64).repeat_interleave(60)
    expected = gamma.ppf(chances.numpy(), concentrations.numpy())
    found = log_gamma_quantile(concentrations, chances)
    held = expected > 1e-300
    np.testing.assert_allclose(found.numpy()[held], np.log(expected[held]), atol=1e-7)


def test_gumbel_draws_one_operation_an_edge_as_often_as_the_softmax_says():
    relaxation, alphas = EVERY["gumbel"], draw_alphas(DARTS)
    weights = relaxation.weights(SPACE, alphas, draw())
    assert sorted(weights.unique().tolist()) == [0.0, 1.0]
    assert (weights.sum(dim=-1) == 1).all()
    frequency = mean_weights(relaxation, alphas)
    torch.testing.assert_close(frequency, torch.softmax(alphas, dim=-1), rtol=0, atol=5 * 0.5 / math.sqrt(4000))


def test_the_gradient_of_a_gumbel_sample_is_that_of_its_softmax_at_the_present_temperature():
    relaxation, alphas = Relaxation(operations="gumbel", temperature=(4.0, 2.0)), draw_alphas(DARTS).requires_grad_()
    state, slope = draw(progress=0.5), torch.randn(SPACE.alpha_shape, generator=generator(5), dtype=torch.float64)
    noise = -torch.log(-torch.log(state.noise.weights))
    (expected,) = torch.autograd.grad((torch.softmax((alphas + noise) / 3.0, dim=-1) * slope).sum(), alphas)
    (found,) = torch.autograd.grad((relaxation.weights(SPACE, alphas, state) * slope).sum(), alphas)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["dropout", "sampled edges"])
def test_what_is_left_out_at_random_is_made_up_for_on_average(name):
    alphas = draw_alphas(DARTS)
    found = mean_weights(EVERY[name], alphas)
    torch.testing.assert_close(found, torch.softmax(alphas, dim=-1), rtol=0, atol=5 * 1.3 / math.sqrt(4000))


def test_sampled_operations_are_as_many_as_asked_for_and_share_the_edge_by_their_softmax():
    alphas = draw_alphas(DARTS)
    weights = EVERY["sampled operations"].weights(SPACE, alphas, draw())
    assert ((weights > 0).sum(dim=-1) == 2).all()
    for row, alpha in zip(weights.reshape(-1, 8), alphas.reshape(-1, 8), strict=True):
        np.testing.assert_allclose(row[row > 0].numpy(), softmax(alpha[row > 0].numpy()), rtol=1e-12)


@pytest.mark.parametrize("normalised", [False, True])
def test_sampled_edges_are_as_many_as_asked_for_at_each_node(normalised):
    relaxation = Relaxation(sampled_edges=3, normalised_edges=normalised)
    kept = relaxation.weights(SPACE, draw_alphas(relaxation), draw()).sum(dim=-1) > 0
    for node in NODES:
        assert (kept[:, node].sum(dim=-1) == min(3, len(node))).all()


@every
def test_an_operation_that_an_edge_may_not_hold_has_no_weight_and_is_never_sampled(relaxation):
    names = ("skip_connect", "sep_conv_3x3", "max_pool_3x3")
    space = SearchSpace(nodes=2, operations=names, normal=(names[:1], names[1:], *[names[::2]] * 3))
    alphas = torch.randn(relaxation.alpha_shape(space), generator=generator(), dtype=torch.float64)
    for seed in range(10):
        weights = relaxation.weights(space, alphas, draw(seed, space))
        assert weights.isfinite().all()
        assert not weights[~space.mask].any()
    assert not relaxation.strengths(space, alphas)[~space.mask].any()
    space.check_member(relaxation.derive(space, alphas))


@every
def test_the_expected_size_is_exact_at_one_hot_and_its_bounds_can_be_met_by_their_gradient(relaxation):
    table = CostTable(SPACE, NetworkShape(**SMALL))
    genotype = SPACE.random_genotype(generator(4))
    alphas = 60 * (SPACE.one_hot(genotype) - 0.5)
    if relaxation.normalised_edges:
        kept = SPACE.one_hot(genotype)[..., list(SPACE.candidates)].sum(dim=-1, keepdim=True)
        alphas = torch.cat([alphas, 60 * kept], dim=-1)
    exact = network_cost(genotype, **SMALL)
    assert table.expected(relaxation.strengths(SPACE, alphas))[0].item() == pytest.approx(exact.parameters, rel=1e-6)
    low, high = table.reachable("parameters")
    for part in (0.2, 0.8):
        middle = low + part * (high - low)
        bounds = {"parameters": Bound("parameters", 0.9 * middle, 1.1 * middle)}
        searched = draw_alphas(relaxation, scale=0.1).requires_grad_()
        assert project_onto_bounds(bounds, table, searched, relaxation=relaxation)
        assert resource_losses(bounds, table, searched, relaxation)["parameters"]().item() == 0


def test_the_default_supernet_is_that_of_the_softmax_and_random_ones_need_a_moment_to_differ():
    images = torch.rand(4, 1, 8, 8, generator=generator())
    torch.manual_seed(0)
    plain = Supernet(SPACE, channels=2, layers=3, in_channels=1)
    for name, relaxation in EVERY.items():
        torch.manual_seed(0)
        supernet = Supernet(SPACE, channels=2, layers=3, in_channels=1, relaxation=relaxation)
        assert supernet.alphas.shape == relaxation.alpha_shape(SPACE)
        supernet.relaxation_state = draw()
        first = supernet(images)
        assert torch.equal(first, supernet(images)), name
        supernet.relaxation_state = draw(1)
        assert torch.equal(first, supernet(images)) != relaxation.is_random, name
        supernet.derive()
        if relaxation is DARTS:
            assert torch.equal(first, plain(images))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"beta_decay": 1.0, "operations": "sigmoid"},
            "beta-decay acts on alphas that share a softmax, and operations is",
        ),
        ({"zero_one": 1.0}, "the zero-one loss acts on sigmoids, and operations is softmax"),
        ({"sampled_operations": 1}, "sampled_operations is at least 2 here, found 1"),
        ({"sampled_edges": 0}, "sampled_edges is at least 1 here, found 0"),
        ({"sampled_edges": 1, "normalised_edges": True}, "sampled_edges is at least 2 here, found 1"),
    ],
)
def test_a_relaxation_that_could_not_train_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Relaxation(**arguments)


def test_a_relaxation_that_the_space_cannot_serve_and_alphas_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="auxiliary skip is added to skip_connect, which is not among"):
        Supernet(SearchSpace(operations=("none", "sep_conv_3x3")), relaxation=EVERY["auxiliary skip"])
    with pytest.raises(ValueError, match=r"alphas here are \[2, 14, 9\], found \[2, 14, 8\]"):
        EVERY["normalised edges"].derive(SPACE, torch.zeros(2, 14, 8))
    with pytest.raises(ValueError, match="not finite"):
        EVERY["normalised edges"].derive(SPACE, torch.full((2, 14, 9), math.nan))
