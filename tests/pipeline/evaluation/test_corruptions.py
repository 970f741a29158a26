"""Common corruptions: laws, then oracles: scipy's filter, matplotlib's HSV, published strengths."""

import io

import numpy as np
import pytest
import torch
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest, poisson

from pipeline.evaluation.corruptions import CORRUPTIONS, SEVERITIES


@pytest.fixture(params=[(1, 8), (3, 32)], ids=["grey", "colour"])
def images(request):
    channels, size = request.param
    return torch.rand(6, channels, size, size, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1


def corrupted(name, images, severity, seed=0):
    return CORRUPTIONS[name](images, severity, torch.Generator().manual_seed(seed))


every = pytest.mark.parametrize("name", CORRUPTIONS)


@every
@pytest.mark.parametrize("severity", SEVERITIES)
def test_what_comes_out_are_images_and_a_function_of_the_generator(name, severity, images):
    before = images.clone()
    found = corrupted(name, images, severity)
    assert found.shape == images.shape
    assert found.dtype == images.dtype
    assert 0 <= found.min() <= found.max() <= 1
    assert torch.equal(images, before)
    assert torch.equal(found, corrupted(name, images, severity))
    assert torch.equal(found, corrupted(name, images, severity, seed=1)) == (not name.endswith("noise"))


@every
def test_every_severity_is_further_from_the_image_than_the_one_before(name, images):
    distances = [(corrupted(name, images, severity) - images).square().mean().item() for severity in SEVERITIES]
    assert distances[0] > 0
    assert distances == sorted(distances)
    assert len(set(distances)) == 5


@every
def test_an_image_is_corrupted_by_itself(name, images):
    if not name.endswith("noise"):
        torch.testing.assert_close(corrupted(name, images, 3)[2:3], corrupted(name, images[2:3], 3))


def test_the_strengths_are_those_of_cifar_10_c():
    published = {  # Hendrycks & Dietterich 2019, make_cifar_c.py
        "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
        "shot_noise": (500, 250, 100, 75, 50),
        "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),
        "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
        "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
        "jpeg": (80, 65, 58, 50, 40),
    }
    assert {name: corruption.levels for name, corruption in CORRUPTIONS.items()} == published


@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_blur_is_scipys(severity, images):
    sigma = CORRUPTIONS["gaussian_blur"].levels[severity - 1]
    expected = gaussian_filter(images.numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=4)
    torch.testing.assert_close(
        corrupted("gaussian_blur", images, severity), torch.from_numpy(expected), atol=1e-5, rtol=0
    )


def test_brightness_is_value_in_matplotlibs_hsv():
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    images[0, :, 0, 0] = 0  # black has no hue
    for severity, more in zip(SEVERITIES, CORRUPTIONS["brightness"].levels, strict=True):
        hsv = rgb_to_hsv(images.permute(0, 2, 3, 1).numpy())
        hsv[..., 2] = np.clip(hsv[..., 2] + more, 0, 1)
        expected = torch.from_numpy(hsv_to_rgb(hsv)).permute(0, 3, 1, 2).float()
        torch.testing.assert_close(corrupted("brightness", images, severity), expected, atol=1e-5, rtol=0)


def test_contrast_keeps_each_channels_mean_and_shrinks_its_deviation(images):
    found = corrupted("contrast", images, 3)
    torch.testing.assert_close(found.mean(dim=(2, 3)), images.mean(dim=(2, 3)))
    torch.testing.assert_close(found.std(dim=(2, 3)), 0.4 * images.std(dim=(2, 3)))


def test_noise_has_the_distribution_that_it_is_named_for():
    grey = torch.full((4, 1, 50, 50), 0.5)
    gaussian = (corrupted("gaussian_noise", grey, 3) - 0.5).flatten().numpy() / 0.08
    assert kstest(gaussian, "norm").pvalue > 0.01
    photons = (corrupted("shot_noise", grey, 3) * 100).round().flatten().numpy()
    assert photons.mean() == pytest.approx(50, abs=4 * (50 / 10_000) ** 0.5)
    assert photons.var() == pytest.approx(50, rel=0.06)
    assert (photons <= 45).mean() == pytest.approx(poisson.cdf(45, 50), abs=0.02)


def test_jpeg_is_what_pillow_writes_and_reads(images):
    found = corrupted("jpeg", images, 5)
    for image, expected in zip(found, images, strict=True):
        pixels = (expected * 255).round().byte().permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels.squeeze()).save(file, "JPEG", quality=40)
        decoded = np.asarray(Image.open(file)).reshape(pixels.shape)
        assert np.array_equal((image * 255).round().byte().permute(1, 2, 0).numpy(), decoded)
