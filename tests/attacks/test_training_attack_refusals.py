"""What a training attack refuses: images, labels, models and hyperparameters outside their domain."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attacks import training_attack
from tests.support.optimization.training_attacks import attack, names


@names
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda x: x * 2.64,
            r"expected images in \[0, 1\], found a maximum of 2.64; put normalisation inside the netw",
        ),
        (lambda x: x * (1 + 2e-7), "found a maximum of 1.00000"),
        (lambda x: x - 0.5, "found a minimum of -0.5;"),
        (lambda x: x.clone().fill_(-1e-9), "found a minimum of -1e-09"),
        (lambda x: torch.where(x > 0.9, torch.nan, x), "found a maximum of nan"),
        (lambda x: torch.where(x > 0.9, torch.inf, x), "found a maximum of inf"),
        (lambda x: x[0], r"expected images \[N, C, H, W\], found shape \(1, 8, 8\)"),
        (lambda x: (x * 255).byte(), "expected float32 or float64 images, found torch.uint8; divide bytes by 255"),
        (lambda x: x.half(), "found torch.float16"),
    ],
)
def test_images_that_mean_something_else_are_refused(name, spoil, message, model, batch):
    images, labels = batch
    with pytest.raises(ValueError, match=message):
        attack(name, model)(spoil(images), labels)


@names
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda y: y.int(), "expected int64 labels, found torch.int32"),
        (lambda y: F.one_hot(y), r"expected labels \[32\], one an image, found shape \(32, 10\)"),
        (lambda y: y[:5], r"found shape \(5,\)"),
        (lambda y: y - 1, "expected labels of at least 0, found -1"),
        (lambda y: y + 1, r"expected labels in \[0, 9\] for 10 logits, found 10"),
    ],
)
def test_labels_that_are_no_class_numbers_are_refused(name, spoil, message, model, batch):
    images, labels = batch
    assert labels.min() == 0
    assert labels.max() == 9
    with pytest.raises(ValueError, match=message):
        attack(name, model)(images, spoil(labels))


class Tuple(nn.Module):
    def forward(self, logits: Tensor) -> tuple[Tensor, None]:
        return logits, None


class RootOfZero(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images + 0 * (images - images.detach()).sqrt()


@names
def test_a_model_with_other_outputs_than_logits_is_refused(name, model, batch):
    with pytest.raises(ValueError, match=r"expected logits \[32, classes\] from the model, found tuple"):
        attack(name, nn.Sequential(model, Tuple()))(*batch)
    with pytest.raises(ValueError, match=r"found shape \(32, 16, 4, 4\)"):
        attack(name, model[:6])(*batch)


@names
def test_a_diverged_model_is_refused_and_does_not_look_robust(name, model, batch):
    model[8].bias.data[3] = torch.nan
    with pytest.raises(FloatingPointError, match="expected finite logits, found NaN"):
        attack(name, model)(*batch)


@names
def test_a_model_whose_gradient_is_nan_does_not_look_robust(name, model, batch):
    with pytest.raises(FloatingPointError, match="expected finite gradients"):
        attack(name, nn.Sequential(RootOfZero(), model))(*batch)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"eps": 0}, r"expected 0 < eps <= 1 in Linf, found 0"),
        ({"eps": 8}, r"expected 0 < eps <= 1 in Linf, found 8"),
        ({"eps": math.nan}, "found nan"),
        ({"step": 0}, "expected step > 0, found 0"),
        ({"step": math.nan}, "expected step > 0, found nan"),
        ({"step": math.inf}, "expected step > 0, found inf"),
        ({"steps": 0}, "expected steps >= 1, found 0"),
        ({"statistics": "train"}, "expected statistics to be 'running' or 'batch', found 'train'"),
    ],
)
def test_hyperparameters_outside_their_domain_are_refused(chosen, message, model):
    with pytest.raises(ValueError, match=message):
        training_attack("pgd", model, **chosen)


def test_an_unknown_name_is_refused_with_the_known_ones(model):
    with pytest.raises(ValueError, match="out of pgd, fgsm, fgsm_rs, tpgd, n_fgsm, found 'pgd-7'"):
        training_attack("pgd-7", model)


def test_the_defaults_are_those_of_the_published_search(model):
    assert training_attack("pgd", model).settings == {
        "name": "pgd",
        "library": "torchattacks",
        "version": "3.5.1",
        "attacks": [
            {"class": "PGD", "arguments": {"eps": 8 / 255, "alpha": 2 / 255, "steps": 7, "random_start": True}}
        ],
        "norm": "Linf",
        "eps": 8 / 255,
        "restarts": 1,
        "statistics": "running",
    }
