"""What cannot be attacked, or not be measured by an attack, is refused; few classes and dead networks."""

import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from attacks import EVALUATION_ATTACKS, evaluation_attack
from attacks.guarded_model import GuardedModel
from tests.support.images.digits_network import digits
from tests.support.optimization.quick_attacks import accuracy, every, quick_attack


class FewerClasses(nn.Module):
    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.model = model
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)[:, : self.classes]


@every
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda x: x * 2.64,
            r"expected images in \[0, 1\], found a maximum of 2.64; put normalisation inside the netw",
        ),
        (lambda x: torch.where(x > 0.9, torch.nan, x), "found a maximum of nan"),
        (lambda x: x[:, 0], r"expected images \[N, C, H, W\]"),
    ],
)
def test_images_that_mean_something_else_are_refused(name, spoil, message, model, batch):
    images, labels = batch
    with pytest.raises(ValueError, match=message):
        evaluation_attack(name, model)(spoil(images), labels)


@every
def test_labels_beyond_the_models_logits_are_refused(name, model, batch):
    images, labels = batch
    with pytest.raises(ValueError, match=r"expected labels in \[0, 9\] for 10 logits, found 10"):
        evaluation_attack(name, model)(images, labels + 1)


class RootOfZero(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images + 0 * (images - images.detach()).sqrt()


@pytest.mark.parametrize("name", [name for name in EVALUATION_ATTACKS if name != "square"])
def test_a_model_whose_gradient_is_nan_does_not_look_robust(name, model, batch):
    with pytest.raises(FloatingPointError, match="expected finite gradients"):
        quick_attack(name, nn.Sequential(RootOfZero(), model))(*batch)


@pytest.mark.parametrize("pixel", [0.5, torch.nan])
def test_a_nan_gradient_is_the_models_fault_only_where_the_images_are_finite(pixel, batch):
    _, labels = batch
    guarded = GuardedModel(nn.Sequential(RootOfZero(), nn.Flatten()), torch.rand(32, 1, 8, 8), labels.max())
    guarded.unseen = False
    guarded(torch.full((32, 1, 8, 8), pixel, requires_grad=True)).sum().backward()
    with nullcontext() if math.isnan(pixel) else pytest.raises(FloatingPointError):
        guarded.check_gradients()


def test_a_dead_network_is_attacked_in_vain_and_is_no_error(batch):
    dead = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)).eval()
    nn.init.constant_(dead[0].bias, -100)
    images, _ = batch
    attacked = quick_attack("autoattack", dead)(images, dead(images).argmax(1))
    assert torch.equal(attacked, images)


@pytest.mark.parametrize("name", ["apgd-t", "autoattack"])
@pytest.mark.parametrize("classes", [2, 3])
def test_targeted_losses_refuse_fewer_than_four_classes_and_name_the_others(name, classes, model):
    with pytest.raises(
        ValueError, match=r"num_classes >= 4 .* attacked with fgsm, pgd-20, pgd-20-targeted, pgd-100, apgd"
    ):
        evaluation_attack(name, FewerClasses(model, classes), num_classes=classes)


@every
@pytest.mark.parametrize("classes", [2, 4])
def test_few_classes_can_be_attacked_where_the_loss_allows(name, classes, model):
    images, labels = digits()
    few = images[labels < classes][:20], labels[labels < classes][:20]
    if classes >= EVALUATION_ATTACKS[name].least_classes:
        narrow = FewerClasses(model, classes)
        attacked = quick_attack(name, narrow, eps=0.3, cw_radius=3.0, num_classes=classes)(*few)
        assert accuracy(narrow, attacked, few[1]) < accuracy(narrow, *few)


@pytest.mark.parametrize("name", ["pgd-20-targeted", "apgd-t", "autoattack"])
def test_targeted_attacks_refuse_another_number_of_logits(name, model, batch):
    with pytest.raises(ValueError, match="expected 100 logits, found 10; pass num_classes=10"):
        evaluation_attack(name, model, num_classes=100)(*batch)


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        ("pgd-20", {"eps": 0.0}, r"expected 0 < eps <= 1 in Linf, found 0.0"),
        ("pgd-20", {"eps": 8}, "found 8; pixels lie in"),
        ("square", {"eps": math.nan}, "found nan"),
        ("cw", {"cw_radius": 0.0}, "expected 0 < eps <= inf in L2, found 0.0"),
        ("pgd-20", {"restarts": 0}, "expected restarts >= 1, found 0"),
        ("fgsm", {"restarts": 2}, "expected restarts=1 for fgsm, found 2"),
        ("cw", {"restarts": 2}, "expected restarts=1 for cw, found 2"),
        ("fgsm", {"num_classes": 1}, "expected num_classes >= 2 for fgsm, found 1"),
        ("fgsm", {"norm": "L2"}, "expected norm Linf for fgsm, found L2; attacks in L2 are pgd-20, .*autoattack"),
        ("pgd-7", {}, "expected an evaluation attack out of fgsm, pgd-20, .*, found 'pgd-7'"),
    ],
)
def test_names_and_numbers_outside_their_domain_are_refused(name, chosen, message, model):
    with pytest.raises(ValueError, match=message):
        evaluation_attack(name, model, **chosen)


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ValueError, match="expected steps >= 1 and queries >= 1, found 0 and 5000"):
        replace(EVALUATION_ATTACKS["pgd-20"], steps=0)
