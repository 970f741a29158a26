"""Networks with fixed weights compute what they compute otherwise, to rounding, where nothing else is asked."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd import grad
from torch.nn import functional as F

from attacks import evaluation_attack
from search_space import PUBLISHED, Genotype, Network, fixed_weights
from search_space.cells.genotype import OPERATION_NAMES, Cell, Edge
from search_space.kernels import native
from search_space.kernels.native.loading import library
from search_space.network.passes import heard_by
from search_space.network.side_by_side import SideBySide

pytestmark = pytest.mark.skipif(native.library() is None, reason="installed without a C++ compiler")

NASBENCH201 = "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
BLIND = "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"  # nodes that nothing enters
EVERYTHING = [name for name in OPERATION_NAMES if name != "noise"]


def trained(genotype, channels=5, layers=3, in_channels=3, seed=0):
    """A network in evaluation whose batch norms have statistics, scales and shifts of their own."""
    torch.manual_seed(seed)
    network = Network(
        genotype, channels=channels, layers=layers, num_classes=7, in_channels=in_channels, std=[0.3] * in_channels
    )
    with torch.no_grad():
        network(torch.rand(16, in_channels, 16, 16))
        for weight in network.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return network.eval().requires_grad_(False)


def computed(network, images):
    """Logits, and the gradient to the images of a random sum of them."""
    torch.manual_seed(2)
    images = images.clone().requires_grad_()
    logits = network(images)
    return logits.detach(), grad(logits, images, torch.randn(logits.shape).to(logits.dtype))[0]


def is_fixed(logits):
    return "_Passed" in logits.grad_fn.name()


def agree(network, images):
    """Whether both are as near to float64 as the plain network is, but for a few times its rounding."""
    with fixed_weights(network):
        assert network.fixed.takes(images)
        found = computed(network, images)
    expected = computed(copy.deepcopy(network).double(), images.double())
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert (one.double() - other).norm() <= 3e-6 * other.norm()


@pytest.mark.parametrize(("size", "batch"), [(8, 3), (13, 9)])
@pytest.mark.parametrize("cell", ["DARTS_V2", "NASNet", "AmoebaNet", NASBENCH201, BLIND])
def test_logits_and_gradients_are_those_of_the_network(cell, size, batch):
    genotype = PUBLISHED[cell].genotype if cell in PUBLISHED else Genotype.from_nasbench201(cell)
    torch.manual_seed(1)
    agree(trained(genotype), torch.rand(batch, 3, size, size))


@pytest.mark.parametrize(("cell", "count"), [("NASNet", 2), (NASBENCH201, 3), (BLIND, 2)])
def test_networks_side_by_side_compute_what_each_does_alone(cell, count):
    genotype = PUBLISHED[cell].genotype if cell in PUBLISHED else Genotype.from_nasbench201(cell)
    alone = [trained(genotype, seed=seed) for seed in range(count)]
    together = SideBySide(alone).eval().requires_grad_(False)
    images = torch.rand(19 * count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with fixed_weights(together):
        assert together.network.fixed.takes(images.view(19, -1, 8, 8))
        logits, slopes = computed(together, images)
    torch.manual_seed(2)
    directions = torch.randn(logits.shape).double()
    for index, network in enumerate(alone):
        own = images[index::count].double().requires_grad_()
        expected = copy.deepcopy(network).double()(own)
        (slope,) = grad(expected, own, directions[index::count])
        for found, right in ((logits, expected), (slopes, slope)):
            assert (found[index::count].double() - right).norm() <= 3e-6 * right.norm()


@pytest.mark.parametrize(("channels", "size", "seed"), [(2, 9, 1), (3, 8, 2), (9, 8, 4), (7, 11, 6)])
def test_any_operation_and_any_number_of_channels(channels, size, seed):
    torch.manual_seed(seed)
    names = [EVERYTHING[index] for index in torch.randperm(len(EVERYTHING))[:4]]
    node = tuple(Edge(name, source % 2) for source, name in enumerate([*names, "skip_connect", "none"]))
    cell = Cell((node, (Edge("max_pool_3x3", 2), Edge("avg_pool_3x3", 0))), (3, 2))
    torch.manual_seed(seed)
    agree(trained(Genotype(cell, cell), channels=channels, in_channels=1), torch.rand(2, 1, size, size))


def test_an_image_gets_the_same_bits_in_any_batch():
    network, images = trained(PUBLISHED["DARTS_V2"].genotype), torch.rand(21, 3, 8, 8)
    with fixed_weights(network):
        together = computed(network, images)[0]
        apart = torch.cat([network(images[first : first + 5]) for first in range(0, 21, 5)])
    assert torch.equal(together, apart)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit(threads):
    network, images = trained(PUBLISHED["DARTS_V2"].genotype), torch.rand(21, 3, 8, 8)
    with fixed_weights(network):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        several = computed(network, images)
        torch.set_num_threads(1)
        one = computed(network, images)
        torch.set_num_threads(before)
    assert all(map(torch.equal, one, several))


def test_each_instruction_set_computes_the_same():
    network, images = trained(PUBLISHED["NASNet"].genotype), torch.rand(9, 3, 8, 8)
    try:
        for most in (0, 1, 2):
            library().limit_instruction_set(most)
            agree(network, images)
    finally:
        library().limit_instruction_set(2)


def test_an_attack_finds_the_images_that_it_finds_otherwise():
    network, images = trained(PUBLISHED["DARTS_V2"].genotype), torch.rand(12, 3, 8, 8)
    labels = network(images).argmax(dim=1)
    attack = evaluation_attack("pgd-20", network, eps=0.1, num_classes=7)
    plain = network(attack(images, labels)).argmax(dim=1) == labels
    with fixed_weights(network):
        fixed = network(attack(images, labels)).argmax(dim=1) == labels
    assert 0 < int(plain.sum()) < 12
    assert torch.equal(plain, fixed)


def test_not_a_number_stays_one():
    network, images = trained(PUBLISHED["DARTS_V2"].genotype), torch.rand(2, 3, 8, 8)
    images[0, 0, 3, 3] = torch.nan
    with fixed_weights(network):
        assert network(images).isnan().any(dim=1).tolist() == [True, False]


def test_gradients_can_be_asked_for_again():
    network, images = trained(PUBLISHED["DARTS_V2"].genotype), torch.rand(2, 3, 8, 8, requires_grad=True)
    with fixed_weights(network):
        logits = network(images)
        first, again = (grad(logits[:, 0].sum(), images, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, again)


def change_a_weight(network):
    network.classifier.linear.weight[0, 0] += 1


def put_another_weight(network):
    network.classifier.linear.weight = nn.Parameter(torch.zeros(7, 64), requires_grad=False)


def ask_for_gradients_of_weights(network):
    network.requires_grad_(True)


def train(network):
    network.train()


def leave_out_statistics(network):
    network.stem[1].running_mean = network.stem[1].running_var = None


@pytest.mark.parametrize(
    "act", [change_a_weight, put_another_weight, ask_for_gradients_of_weights, train, leave_out_statistics]
)
def test_a_network_that_changes_is_computed_as_it_is_now(act):
    network, images = trained(PUBLISHED["DARTS_V2"].genotype, channels=4), torch.rand(3, 3, 8, 8, requires_grad=True)
    with fixed_weights(network):
        assert is_fixed(network(images))
        act(network)
        with torch.random.fork_rng():
            found = network(images)
        assert not is_fixed(found)
    state = copy.deepcopy(network)
    if not network.training:
        torch.testing.assert_close(found, state(images))


def test_noise_other_types_other_modules_and_hooks_are_left_alone():
    cell = Cell((((Edge("noise", 0), Edge("skip_connect", 1))),), (2,))
    noisy, images = trained(Genotype(cell, cell)), torch.rand(2, 3, 8, 8, requires_grad=True)
    plain = trained(PUBLISHED["DARTS_V2"].genotype)
    with fixed_weights(noisy), fixed_weights(plain), fixed_weights(nn.Flatten()):
        assert not is_fixed(noisy(images))
        assert not is_fixed(plain.double()(images.double()))
    watched = trained(PUBLISHED["DARTS_V2"].genotype)
    assert not is_fixed(watched(images))
    watched.cells[1].register_forward_hook(lambda *given: None)
    with fixed_weights(watched):
        assert not is_fixed(watched(images))


def test_passes_are_announced_and_a_copy_is_free():
    network, images, seen = trained(PUBLISHED["DARTS_V2"].genotype), torch.rand(4, 3, 8, 8), []
    with fixed_weights(network), heard_by(lambda of, batch: seen.append((of is network, len(batch)))):
        network(images)
        assert copy.deepcopy(network).fixed is None
    assert seen == [(True, 4)]
    assert network.fixed is None


def test_images_of_other_channels_are_refused_as_by_the_network():
    network = trained(PUBLISHED["DARTS_V2"].genotype)
    with fixed_weights(network), pytest.raises(RuntimeError):
        network(torch.rand(2, 2, 8, 8))


def test_a_second_derivative_is_refused():
    network, images = trained(PUBLISHED["DARTS_V2"].genotype), torch.rand(2, 3, 8, 8, requires_grad=True)
    with fixed_weights(network):
        (slope,) = grad(F.cross_entropy(network(images), torch.tensor([0, 1])), images, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            slope.square().sum().backward()
