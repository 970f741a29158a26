"""The compiled separable operations are the fused ones: in value, in every gradient, and wherever they do not apply."""

import pytest
import torch
from torch.autograd import grad
from torch.nn import functional as F

from search_space import SearchSpace, Supernet
from search_space.kernels import native
from tests.support.slowly import slowly

pytestmark = pytest.mark.skipif(native.library() is None, reason="installed without a C++ compiler")

ALL = ("none", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "dil_conv_3x3", "dil_conv_5x5", "skip_connect")


def supernet(channels, operations=ALL, layers=3):
    torch.manual_seed(0)
    model = Supernet(SearchSpace(nodes=2, operations=operations), channels=channels, layers=layers, num_classes=5)
    with torch.no_grad():
        model.alphas.normal_()
    for weight in model.weights():
        weight.requires_grad_(False)
    return model.to(memory_format=torch.channels_last)


def gradients(model, images):
    images = images.clone().requires_grad_()
    loss = F.cross_entropy(model(images), torch.arange(len(images)))
    return loss, *grad(loss, [images, model.alphas])


@pytest.fixture
def passes(monkeypatch):
    """Counts the nodes that compiled code computes; `passes.off()` leaves all to PyTorch."""

    class Passes(list):
        def off(self):
            monkeypatch.setattr(native, "library", lambda: None)

    counted, original = Passes(), native.separable_sum
    monkeypatch.setattr(native, "separable_sum", lambda *given: counted.append(1) or original(*given))
    return counted


def distances(model, images, off):
    """Of loss, image gradient and alpha gradient from float64: the least of each over batches.

    Rounding takes an activation across a kink now and then, which moves gradients by 1e-3 whoever computes them.
    """
    found = [gradients(model, batch) for batch in images]
    off()
    model.double()
    expected = [gradients(model, batch.double()) for batch in images]
    each = [
        [((f.double() - e).norm() / e.norm()).item() for f, e in zip(*pair, strict=True)]
        for pair in zip(found, expected, strict=True)
    ]
    return [min(kept) for kept in zip(*each, strict=True)]


# Widths of one and of several vectors of 8 and of 16 channels; odd sizes end in a row without a partner at stride 2.
@pytest.mark.parametrize(
    ("channels", "size"),
    [(8, 9), (24, 9), *slowly((16, 8), (32, 9), (48, 13))],
)
def test_values_and_gradients_are_those_of_float64(channels, size, passes):
    model = supernet(channels)
    found = distances(model, torch.rand(3, 2, 3, size, size), passes.off)
    assert len(passes) == 3 * 2 * len(model.cells)
    assert max(found) < 2e-5


@pytest.mark.parametrize("operation", [name for name in ALL if "conv" in name])
def test_one_operation_alone(operation, passes):
    found = distances(supernet(8, (operation, "none")), torch.rand(3, 2, 3, 8, 8), passes.off)
    assert passes
    assert max(found) < 2e-5


def test_second_derivatives_in_alpha(passes):
    model, images = supernet(8), torch.rand(4, 3, 8, 8)
    vector = torch.randn_like(model.alphas)

    def product():
        loss = F.cross_entropy(model(images.to(model.alphas.dtype)), torch.arange(4))
        slope = grad(loss, model.alphas, create_graph=True)[0]
        return grad(slope, model.alphas, vector.to(slope.dtype))[0]

    found = product()
    assert passes
    passes.off()
    model.double()
    expected = product()
    assert (found.double() - expected).norm() < 1e-3 * expected.norm()


def test_an_image_does_not_change_with_the_number_of_threads():
    model, images = supernet(16), torch.rand(4, 3, 8, 8)
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(gradients(model, images))
    finally:
        torch.set_num_threads(threads)
    for others in found[1:]:
        for ours, theirs in zip(others, found[0], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("change", ["weights ask for gradients", "float64", "3 channels", "autocast"])
def test_what_it_is_not_for_is_left_to_pytorch(change, passes):
    model, images = supernet(3 if change == "3 channels" else 8), torch.rand(2, 3, 8, 8)
    if change == "weights ask for gradients":
        model.requires_grad_(True)
    if change == "float64":
        model, images = model.double(), images.double()
    with torch.autocast("cpu", torch.bfloat16, enabled=change == "autocast"):
        assert torch.isfinite(model(images)).all()
    assert not passes


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (7, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [8, 16, 40])
def test_gradient_in_a_depthwise_weight_is_that_of_autograd(kernel, dilation, stride, channels):
    torch.manual_seed(0)
    images = torch.randn(3, channels, 9, 10).to(memory_format=torch.channels_last)
    weight = torch.randn(channels, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    output = F.conv2d(images.double(), weight, None, stride, dilation * (kernel // 2), dilation, groups=channels)
    slope = torch.randn_like(output, dtype=torch.float32)
    (expected,) = grad(output, weight, slope.double())
    found = native.depthwise_weight(images, slope, kernel, stride, dilation)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)


@pytest.fixture(params=[0, 1, 2], ids=["baseline", "avx2", "avx512"])
def instruction_set(request):
    if native.library().limit_instruction_set(request.param) != request.param:
        pytest.skip("this processor lacks the instructions")
    yield
    native.library().limit_instruction_set(2)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize(("pixels", "channels"), [(6, 4), (300, 2), (8, 1), (129, 8), (700, 24), (257, 32)])
def test_compiled_batch_norm_is_torchs_in_double_precision(pixels, channels):
    torch.manual_seed(0)
    rows, slope = 5 + 3 * torch.randn(pixels, channels), torch.randn(pixels, channels)
    assert native.supports_normalise(rows, slope)
    exact = rows.double().requires_grad_()
    expected = F.batch_norm(exact, None, None, training=True)
    found, mean, factor = native.normalise(rows, 1e-5)
    torch.testing.assert_close(found.double(), expected.detach(), rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(mean, rows.double().mean(dim=0), rtol=1e-6, atol=0)
    (expected,) = grad(expected, exact, slope.double())
    found = native.normalise_backward(rows, slope, mean, factor)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=2e-6)


def test_compiled_batch_norm_leaves_other_rows_to_torch():
    for rows in (torch.rand(3, 4), torch.rand(8, 3), torch.rand(8, 12), torch.rand(8, 8).double(), torch.rand(0, 8)):
        assert not native.supports_normalise(rows)
    assert torch.isnan(native.normalise(torch.full((8, 8), torch.nan), 1e-5)[0]).all()
