"""Checks that are read later raise what they raise at once, and an attack reads nothing in between."""

import pytest
import torch
from torch import nn

from attacks import checked_later, training_attack
from attacks.later_checks import check
from pipeline.training.steps import naming


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))


IMAGES, LABELS = torch.full((2, 3, 2, 2), 0.5), torch.tensor([0, 2])


class Overflowing(nn.Module):
    def forward(self, images):
        return images.flatten(1)[:, :3] * torch.inf * 0


class RootOfZero(nn.Module):
    def forward(self, images):
        return (images.flatten(1)[:, :3] - 0.5).abs().sqrt()  # of slope inf - inf at 0


def judged(checks):
    checks.judge(torch.cat(checks.values).tolist())


@pytest.mark.parametrize(
    ("model", "images", "labels", "error", "message"),
    [
        (network(), IMAGES + 1, LABELS, ValueError, r"expected images in \[0, 1\], found a maximum of 1.5"),
        (Overflowing(), IMAGES, LABELS, FloatingPointError, "expected finite logits, found NaN"),
        (RootOfZero(), IMAGES, LABELS, FloatingPointError, "expected finite gradients at the images"),
    ],
)
def test_what_is_wrong_is_said_at_once_or_later_in_the_same_words(model, images, labels, error, message):
    attack = training_attack("fgsm", model)
    with pytest.raises(error, match=message):
        attack(images, labels)
    with checked_later() as checks:
        attack(images, labels)
    with pytest.raises(error, match=message):
        judged(checks)


def test_images_are_the_same_and_nothing_is_raised_where_all_is_well():
    attack = training_attack("fgsm", network())
    with checked_later() as checks:
        later = attack(IMAGES, LABELS)
    judged(checks)
    assert torch.equal(later, attack(IMAGES, LABELS))
    assert len(checks.values) == 3  # the batch, the first logits, the gradients


def test_a_check_that_fails_later_is_named_as_it_would_have_been():
    def wrong(read):
        raise FloatingPointError(f"{read[0]:.0f} is wrong")

    with checked_later() as checks, naming("step 3"), naming("objective robustness"):
        check(torch.tensor(7.0), wrong)
    with pytest.raises(FloatingPointError, match=r"^step 3: objective robustness: 7 is wrong$"):
        judged(checks)


def test_checks_of_an_inner_block_are_not_those_of_the_outer_one():
    with checked_later() as outer:
        with checked_later() as inner:
            check(torch.tensor(1.0), lambda read: None)
        check(torch.tensor([2.0, 3.0]), lambda read: None)
    assert [values.tolist() for values in inner.values] == [[1.0]]
    assert [values.tolist() for values in outer.values] == [[2.0, 3.0]]
