"""Compiled convolutions of few channels, and pools, are PyTorch's: values, gradients of every order, and networks."""

from itertools import product

import pytest
import torch
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from search_space import Genotype, Network
from search_space.kernels import native
from search_space.kernels.average_pool import average_pool
from search_space.kernels.fast_gradients import fast_gradients
from search_space.kernels.grouped import grouped_convolution
from search_space.network import network as network_module
from search_space.network.side_by_side import SideBySide

pytestmark = pytest.mark.skipif(native.library() is None, reason="installed without a C++ compiler")

CELL = "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"


def laid_out(*size, wants_gradient=True):
    return torch.randn(size).to(memory_format=torch.channels_last).requires_grad_(wants_gradient)


def relative_error(found, expected):
    return ((found.double() - expected).abs().max() / expected.abs().max()).item()


@pytest.fixture(params=[0, 1, 2], ids=["baseline", "AVX2", "AVX512"])
def _instruction_set(request):
    if native.library().limit_instruction_set(request.param) != request.param:
        pytest.skip("the processor has no such instructions")
    yield
    native.library().limit_instruction_set(2)


@pytest.mark.usefixtures("_instruction_set")
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (1, 2)])
def test_values_and_gradients_are_those_of_float64(kernel, stride):
    torch.manual_seed(0)
    for inputs, outputs, groups, (height, width) in product(
        (1, 3, 4, 8), (4, 6, 8, 16), (1, 3), ((8, 8), (5, 2), (1, 7))
    ):
        images, weight = (
            laid_out(5, groups * inputs, height, width),
            torch.randn(groups * outputs, inputs, kernel, kernel),
        )
        weight = weight.to(
            memory_format=torch.channels_last if groups == 3 else torch.contiguous_format
        ).requires_grad_()
        found = grouped_convolution(images, weight, stride=stride, groups=groups)
        exact = images.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
        expected = F.conv2d(*exact, None, stride, kernel // 2, 1, groups)
        slope = torch.randn_like(found)
        assert relative_error(found, expected) < 1e-5
        for one, other in zip(grad(found, [images, weight], slope), grad(expected, exact, slope.double()), strict=True):
            assert relative_error(one, other) < 1e-5


@pytest.mark.parametrize("size", [8, 32])
def test_threads_change_no_bit(size):
    torch.manual_seed(0)
    images, weight = laid_out(24, 24, size, size), laid_out(24, 8, 3, 3)

    def found(threads):
        torch.set_num_threads(threads)
        convolved = grouped_convolution(images, weight, groups=3)
        return convolved, *grad(convolved.square().sum(), [images, weight]), average_pool(images)

    before = torch.get_num_threads()
    try:
        for one, other in zip(found(1), found(3), strict=True):
            assert torch.equal(one, other)
    finally:
        torch.set_num_threads(before)


def test_second_derivatives_are_those_of_torch():
    torch.manual_seed(0)
    images, weight, along = laid_out(2, 12, 5, 5), laid_out(12, 4, 3, 3), torch.randn(2, 12, 5, 5)

    def second(function):
        slopes = grad(function().pow(3).sum(), [images, weight], create_graph=True)
        return grad((slopes[0] * along).sum() + slopes[1].square().sum(), [images, weight])

    ours = second(lambda: average_pool(grouped_convolution(images, weight, groups=3)))
    theirs = second(lambda: F.avg_pool2d(F.conv2d(images, weight, None, 1, 1, 1, 3), 3, 1, 1, False, False))
    for one, other in zip(ours, theirs, strict=True):
        assert relative_error(one, other.double()) < 1e-5


@pytest.mark.filterwarnings("ignore:Input #.* requires gradient and is not a double precision")
def test_gradients_agree_with_differences():
    torch.manual_seed(0)
    given = laid_out(1, 2, 3, 4), laid_out(2, 1, 3, 3)
    single = {"eps": 1e-2, "atol": 1e-2, "rtol": 1e-2, "nondet_tol": 0.0}

    def pooled(images, weight):
        return average_pool(grouped_convolution(images, weight, groups=2))

    assert gradcheck(pooled, given, **single)
    assert gradgradcheck(pooled, given, **single)


@pytest.mark.parametrize("size", [(8, 8), (1, 5), (2, 1), (7, 3)])
def test_the_pool_and_its_gradient_are_those_of_torch(size):
    torch.manual_seed(0)
    images = laid_out(3, 5, *size)
    found, expected = average_pool(images), F.avg_pool2d(images, 3, 1, 1, False, False)
    slope = torch.randn_like(found)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(grad(found, images, slope), grad(expected, images, slope))


def test_batches_of_backward_passes_are_those_of_torch():
    torch.manual_seed(0)
    images, weight = torch.randn(1, 8, 4, 4).to(memory_format=torch.channels_last), laid_out(8, 4, 3, 3)

    def jacobian(function):
        return torch.autograd.functional.jacobian(function, images, vectorize=True)

    ours = jacobian(lambda x: average_pool(grouped_convolution(x, weight, groups=2)))
    theirs = jacobian(lambda x: F.avg_pool2d(F.conv2d(x, weight, None, 1, 1, 1, 2), 3, 1, 1, False, False))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("together", [False, True])
def test_a_step_of_training_is_the_plain_one_to_rounding(together, monkeypatch):
    torch.manual_seed(0)
    genotype = Genotype.from_nasbench201(CELL)
    alone = [Network(genotype, channels=4, layers=3) for _ in range(3)]
    model = SideBySide(alone) if together else alone[0]
    images, labels = torch.rand(24, 3, 8, 8), torch.arange(24) % 10
    weights = list(model.parameters())

    def slopes():
        return grad(F.cross_entropy(model(images), labels), weights)

    ours = slopes()
    monkeypatch.setattr(network_module, "fast_gradients", torch.enable_grad)
    plain = slopes()
    for one, other in zip(ours, plain, strict=True):
        assert (one - other).norm() < 1e-3 * other.norm() + 1e-5


def test_operations_are_counted_where_compiled_code_would_run(monkeypatch):
    model, images = Network(Genotype.from_nasbench201(CELL), channels=4, layers=3), torch.rand(2, 3, 8, 8)

    def operations():
        with FlopCounterMode(display=False) as counter:
            model(images)
        return counter.get_total_flops()

    ours = operations()
    monkeypatch.setattr(network_module, "fast_gradients", torch.enable_grad)
    assert ours == operations() > 0


def names_of_graph(layer, images):
    with fast_gradients():
        return layer(images).grad_fn.name()


def test_what_is_not_supported_goes_to_torch():
    convolution = torch.nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False).to(memory_format=torch.channels_last)
    images = laid_out(2, 8, 4, 4)
    assert "Grouped" in names_of_graph(convolution, images)
    assert "Grouped" not in names_of_graph(convolution, images.detach().contiguous())
    assert "Grouped" not in names_of_graph(convolution.double(), images.double())
    wide = torch.nn.Conv2d(64, 64, 3, padding=1, bias=False)
    assert "Grouped" not in names_of_graph(wide, laid_out(2, 64, 4, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert "Grouped" not in names_of_graph(convolution.float(), images)
    pool = torch.nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)
    assert "AveragePool" in names_of_graph(pool, images)
    assert "AveragePool" not in names_of_graph(torch.nn.AvgPool2d(3, 1, padding=1), images)
    assert "AveragePool" not in names_of_graph(torch.nn.AvgPool2d(3, 2, 1, count_include_pad=False), images)
