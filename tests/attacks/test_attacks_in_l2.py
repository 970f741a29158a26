"""Attacks in L2: images in the ball, and those of torchattacks called by hand."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
import torchattacks
from torch import nn

from attacks import EVALUATION_ATTACKS
from tests.support.optimization.quick_attacks import EPS, accuracy, fallen, quick_attack

L2 = 0.5  # breaks about half of the digits


in_l2 = pytest.mark.parametrize("name", [name for name in EVALUATION_ATTACKS if name != "fgsm"])


@in_l2
def test_in_l2_images_stay_in_the_ball_and_some_reach_its_surface(name, model, batch):
    images, labels = batch
    attacked = quick_attack(name, model, eps=L2, norm="L2")(images, labels)
    distance = (attacked - images).flatten(1).norm(dim=1)
    reached = 0.5 if name == "cw" else 0.9  # CW goes no further than an image needs
    assert reached * L2 < distance.max() <= L2 * (1 + 1e-5)
    assert (attacked - images).abs().max() > 1.5 * EPS  # no ball in Linf
    assert attacked.min() >= 0
    assert attacked.max() <= 1


@in_l2
def test_in_l2_accuracy_falls_with_the_radius_to_about_nothing(name, model, batch):
    images, labels = batch
    left = [
        accuracy(model, quick_attack(name, model, eps=eps, norm="L2")(images, labels), labels) for eps in (0.1, L2, 6.0)
    ]
    assert left[0] > left[1] > left[2]
    assert left[0] > 0.8
    assert left[2] <= 0.15


def test_in_l2_images_are_those_of_torchattacks_called_by_hand(model, batch):
    rest = {"norm": "L2", "eps": L2, "steps": 4, "seed": 7}
    made = {
        "pgd-20": torchattacks.PGDL2(model, eps=L2, alpha=L2 / 4, steps=4),
        "apgd-ce": torchattacks.APGD(model, loss="ce", **rest),
        "apgd-t": torchattacks.APGDT(model, n_classes=10, **rest),
        "square": torchattacks.Square(model, norm="L2", eps=L2, n_queries=30, seed=7),
    }
    for name, by_hand_in_l2 in made.items():
        with torch.random.fork_rng():
            torch.manual_seed(7)
            expected = by_hand_in_l2(*batch).detach()
        attack = quick_attack(name, model, eps=L2, norm="L2", seed=7)
        assert torch.equal(replace(attack, saves_passes=False)(*batch), expected), name
        assert attack.settings["norm"] == "L2"


@pytest.mark.parametrize("name", ["pgd-20", "apgd-ce", "square"])  # of APGD-T, see attacks/saving/leaving.py
def test_in_l2_an_attack_that_leaves_out_what_has_fallen_fools_the_same_images(name, model, batch):
    """In float64: how a processor rounds a convolution depends on the number of images, and an attack amplifies it."""
    precise, images, labels = deepcopy(model).double(), batch[0].double(), batch[1]
    saving = quick_attack(name, precise, eps=L2, norm="L2", seed=7)
    whole = replace(saving, saves_passes=False)(images, labels)
    assert torch.equal(fallen(precise, saving(images, labels), labels), fallen(precise, whole, labels))


def test_in_l2_cw_counts_at_eps(model, batch):
    in_linf = quick_attack("cw", model, cw_radius=2 * L2)(*batch)
    assert torch.equal(quick_attack("cw", model, eps=2 * L2, norm="L2", cw_radius=0.1)(*batch), in_linf)


def test_a_model_in_channels_last_can_be_attacked_in_l2(batch):
    images, _ = batch
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)).eval()
    model = model.to(memory_format=torch.channels_last)
    colour = images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
    attacked = quick_attack("pgd-20", model, eps=L2, norm="L2")(colour, model(colour).argmax(1))
    assert (attacked - colour).flatten(1).norm(dim=1).max() > 0.9 * L2
