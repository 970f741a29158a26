"""Passes whose outcome is known are left out, and the verdict is that of the attack that makes them all."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from attacks import EVALUATION_ATTACKS, CheckedAttack, counted_passes, evaluation_attack
from attacks.saving.saving_model import EveryImageFooledError, SavingModel
from tests.support.images.digits_network import digits
from tests.support.optimization.quick_attacks import EPS, LEAVE, fallen, quick


def counted(attack: CheckedAttack, images: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    with counted_passes(attack.model) as passes:
        attacked = attack(images, labels)
    return attacked, passes.total


def some(number: int, kind: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    images, labels = digits()
    return images[-number:].to(kind), labels[-number:]


def with_and_without(attack, model, images, labels, *, eps=EPS):
    """Images and passes of the attack and of the one that makes every pass."""
    saving = evaluation_attack(attack, model, eps=eps, seed=3)
    assert saving.saves_passes
    return *counted(saving, images, labels), *counted(replace(saving, saves_passes=False), images, labels)


@pytest.mark.parametrize("number", [48, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("steps", [100])
def test_pgd_stops_for_an_image_in_a_cycle_and_ends_where_it_would_have(number, steps, model):
    attack = replace(EVALUATION_ATTACKS["pgd-100"], steps=steps)
    found, passes, expected, all_passes = with_and_without(attack, model.double(), *some(number))
    assert torch.equal(found, expected)
    assert passes < 0.5 * all_passes


@pytest.mark.parametrize("number", [48, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["apgd-ce", "apgd-t"])
def test_apgd_fools_the_same_images_though_they_leave(number, name, model):
    images, labels = some(number)
    model.double()
    right = ~fallen(model, images, labels)
    images, labels = images[right], labels[right]
    attack = replace(EVALUATION_ATTACKS[name], steps=20 if number < 100 else 100)
    found, passes, expected, all_passes = with_and_without(attack, model, images, labels)
    fell = fallen(model, expected, labels)
    assert 0 < fell.sum() < len(fell)
    assert torch.equal(fallen(model, found, labels), fell)
    assert torch.equal(found[~fell], expected[~fell])
    assert passes < all_passes


@pytest.mark.parametrize("number", [8, pytest.param(1000, marks=pytest.mark.slow)])
def test_square_comes_back_to_squares_that_it_has_tried(number, model):
    images, labels = some(number)
    queries = replace(EVALUATION_ATTACKS["square"], queries=700 if number < 100 else 5000)
    found, passes, expected, all_passes = with_and_without(queries, model.double(), images, labels)
    assert torch.equal(found, expected)
    assert passes < 0.6 * all_passes


@pytest.mark.parametrize("name", ["pgd-20", "square", *LEAVE])
@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_what_is_found_lies_in_the_ball_and_fools(name, norm, model, batch):
    images, labels = batch
    eps = EPS if norm == "Linf" else 1.0
    attack = evaluation_attack(quick(name), model, eps=eps, norm=norm, seed=3)
    found = attack(images, labels)
    moved = (found - images).flatten(1)
    distance = moved.abs().amax(dim=1) if norm == "Linf" else moved.norm(dim=1)
    assert distance.max() <= eps + 2e-6
    assert found.min() >= 0
    assert found.max() <= 1
    plain = replace(attack, saves_passes=False)(images, labels)
    if (name, norm) not in (("apgd-t", "L2"), ("autoattack", "L2")):  # see attacks/saving/leaving.py
        assert torch.equal(fallen(model, found, labels), fallen(model, plain, labels))


def test_a_network_that_draws_makes_every_pass(model):
    assert not evaluation_attack("autoattack", model, draws=2).saves_passes


@pytest.fixture
def curved() -> nn.Module:
    """A network whose gradient depends on the image, of 3 classes."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def asked(model: nn.Module, images: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of their weighted sum of squares."""
    inputs = images.clone().requires_grad_()
    logits = model(inputs)
    return logits.detach(), torch.autograd.grad((weights * logits.square()).sum(), inputs)[0]


def test_logits_and_gradients_are_those_of_the_model_and_known_ones_take_no_pass(curved):
    first, second = torch.rand(2, 5, 1, 4, 4, dtype=torch.float64)
    weights, mixed = torch.rand(5, 3, dtype=torch.float64), torch.cat([second[:2], first[2:]])
    saving = SavingModel(curved)
    for images, new in ((first, 5), (second, 5), (mixed, 0), (first, 0)):
        with counted_passes(curved) as passes:
            found = asked(saving, images, weights)
        torch.testing.assert_close(found, asked(curved, images, weights))
        assert (passes.forwards, passes.backwards) == (new, new)


def test_another_loss_at_a_known_image_has_its_own_gradient(curved):
    images, weights = torch.rand(5, 1, 4, 4, dtype=torch.float64), torch.rand(5, 3, dtype=torch.float64)
    saving = SavingModel(curved)
    asked(saving, images, weights)
    other = weights.clone()
    other[1] *= 2
    with counted_passes(curved) as passes:
        found = asked(saving, images, other)
    torch.testing.assert_close(found, asked(curved, images, other))
    assert passes.backwards == 1


def test_an_image_that_was_fooled_passes_no_more_and_the_others_go_on(curved):
    images = torch.rand(4, 1, 4, 4, dtype=torch.float64)
    labels = curved(images).argmax(1)
    labels[1] = (labels[1] + 1) % 3  # fooled from the start
    saving = SavingModel(curved)
    with saving.run(images, labels, 0.1, "Linf") as run:
        saving(images)
        assert run.fooled == [False, True, False, False]
        with counted_passes(curved) as passes:
            logits = saving(images + 0.01)
    assert passes.forwards == 3
    torch.testing.assert_close(logits[[0, 2, 3]], curved(images + 0.01)[[0, 2, 3]])
    torch.testing.assert_close(logits[1], curved(images)[1])
    assert torch.equal(run.found[1], images[1])


def test_a_run_without_images_left_ends(curved):
    images = torch.rand(2, 1, 4, 4, dtype=torch.float64)
    saving = SavingModel(curved)
    with saving.run(images, (curved(images).argmax(1) + 1) % 3, 0.1, "Linf"):
        saving(images)
        with pytest.raises(EveryImageFooledError):
            saving(images)


@pytest.mark.parametrize("outside", [0.11, 1.0])
def test_an_error_outside_the_ball_or_by_a_hair_fools_nobody(outside, curved):
    images = torch.rand(2, 1, 4, 4, dtype=torch.float64).clamp(0.2, 0.8)
    saving, wrong = SavingModel(curved), (curved(images).argmax(1) + 1) % 3
    with saving.run(images, wrong, 0.1, "Linf") as run:
        saving(images + outside)
    assert run.fooled == [False, False]
    even = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    nn.init.zeros_(even[1].weight)
    even[1].bias.data = torch.tensor([1.0, 1.0 + 1e-7, 0.0], dtype=torch.float64)
    saving = SavingModel(even)
    with saving.run(images, torch.zeros(2, dtype=torch.int64), 0.1, "Linf") as run:
        saving(images)
    assert run.fooled == [False, False]
