"""The attack of Carlini & Wagner inside a radius: torchattacks' own, and what the radius changes."""

from dataclasses import replace

import pytest
import torch
import torchattacks
from torch import Tensor, nn

from attacks import EVALUATION_ATTACKS, evaluation_attack
from tests.support.images.digits_network import digits
from tests.support.optimization.quick_attacks import accuracy, quick_attack


class Shifted(nn.Module):
    """Logits moved by a constant, which changes no prediction."""

    def __init__(self, model: nn.Module, shift: float) -> None:
        super().__init__()
        self.model = model
        self.shift = shift

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images) + self.shift


def test_cw_is_torchattacks_cw_from_pixels_inside_on_logits_of_at_least_zero(model, batch):
    images, labels = batch
    start = images.clamp(1 / 1024, 1 - 1 / 1024)
    smallest = float(model(images).min().detach())
    shifted = Shifted(model, 10 - 3 * smallest).eval()  # at least 0 wherever CW steps
    found = torchattacks.CW(shifted, c=1, kappa=0, steps=60, lr=0.05)(start, labels)
    broken = model(found).argmax(1) != labels
    near = (found - images).flatten(1).norm(dim=1) <= 1.0
    attacked = quick_attack("cw", model, cw_radius=1.0)(images, labels)
    assert 0.1 < (broken & near).double().mean() < 0.9
    assert torch.allclose(attacked[broken & near], found[broken & near], atol=2e-3)
    assert torch.equal(attacked[~(broken & near)], images[~(broken & near)])


@pytest.mark.parametrize("radius", [0.5, 1.0])
def test_cw_stays_within_its_radius_and_returns_the_others_unchanged(radius, model, batch):
    images, labels = batch
    attacked = quick_attack("cw", model, cw_radius=radius)(images, labels)
    distance = (attacked - images).flatten(1).norm(dim=1)
    moved = distance > 0
    assert 0 < moved.sum() < len(images)
    assert distance.max() <= radius
    assert distance.max() > 0.8 * radius
    assert (model(attacked).argmax(1)[moved] != labels[moved]).all()


def test_cw_measures_its_radius_from_the_image_itself(model, batch):
    images, labels = batch
    found = quick_attack("cw", model, cw_radius=100.0)(images, labels)
    distance = (found - images).flatten(1).norm(dim=1).median().item()
    just_short = quick_attack("cw", model, cw_radius=distance - 1e-4)(images, labels)
    just_enough = quick_attack("cw", model, cw_radius=distance + 1e-4)(images, labels)
    changed = (just_short != just_enough).flatten(1).any(dim=1)
    assert changed.sum() == 1
    assert torch.equal(just_short[changed], images[changed])
    assert torch.equal(just_enough[changed], found[changed])


def test_cw_returns_images_it_cannot_break_to_the_last_bit(model, batch):
    images, labels = batch
    right = model(images).argmax(1) == labels
    hasty = replace(EVALUATION_ATTACKS["cw"], steps=1)
    attacked = evaluation_attack(hasty, model, cw_radius=100.0)(images, labels)
    assert torch.equal(attacked[right], images[right])


def test_a_wider_cw_radius_breaks_whatever_a_smaller_one_does(model, batch):
    images, labels = batch
    near, far = (quick_attack("cw", model, cw_radius=radius)(images, labels) for radius in (0.5, 1.0))
    moved = (near != images).flatten(1).any(dim=1)
    assert torch.equal(near[moved], far[moved])
    assert accuracy(model, far, labels) < accuracy(model, near, labels)


@pytest.mark.parametrize("shift", [-100.0, 100.0])
def test_cw_does_not_care_about_a_constant_added_to_the_logits(shift, model, batch):
    images, labels = batch
    plain = quick_attack("cw", model, cw_radius=1.0)(images, labels)
    shifted = quick_attack("cw", Shifted(model, shift), cw_radius=1.0)(images, labels)
    assert accuracy(model, shifted, labels) == pytest.approx(accuracy(model, plain, labels), abs=0.04)


def test_cw_moves_pixels_that_are_black_or_white(model):
    images, labels = digits()
    images, labels = images[1400:1432].round(), labels[1400:1432]
    attacked = quick_attack("cw", model, cw_radius=2.0)(images, labels)
    right = model(images).argmax(1) == labels
    assert (attacked[right] != images[right]).flatten(1).any(dim=1).double().mean() > 0.5
