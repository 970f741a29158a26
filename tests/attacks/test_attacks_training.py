import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import torch
import torchattacks
from torch import Tensor, nn
from torch.nn import functional as F

from attacks.noise_fgsm import NFGSM
from attacks.spec import ImageAttack
from tests.support.optimization.training_attacks import EPS, STEP, attack, names


def n_fgsm_by_hand(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    noisy = (images + torch.empty_like(images).uniform_(-2 * EPS, 2 * EPS)).clamp(0, 1).requires_grad_()
    F.cross_entropy(model(noisy), labels).backward()
    return (noisy + EPS * noisy.grad.sign()).clamp(0, 1).detach()


def by_hand(name: str, model: nn.Module) -> ImageAttack:
    made = {
        "pgd": lambda: torchattacks.PGD(model, eps=EPS, alpha=STEP, steps=3, random_start=True),
        "fgsm": lambda: torchattacks.FGSM(model, eps=EPS),
        "fgsm_rs": lambda: torchattacks.FFGSM(model, eps=EPS, alpha=1.25 * EPS),
        "tpgd": lambda: torchattacks.TPGD(model, eps=EPS, alpha=STEP, steps=3),
        "n_fgsm": lambda: partial(n_fgsm_by_hand, model),
    }
    return made[name]()


def everything_in(model: nn.Module) -> list[object]:
    tensors = [*model.parameters(), *model.buffers()]
    return [
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [id(tensor) for tensor in tensors],
        [tensor.detach().tolist() for tensor in tensors],
        [None if p.grad is None else (id(p.grad), p.grad.tolist()) for p in model.parameters()],
        list(model.state_dict()),
    ]


def put_in_mode(model: nn.Sequential, mode: str) -> None:
    model.train(mode != "eval")
    if mode == "mixed":  # the kind of model whose parts torchattacks would not give back their modes
        model[1].eval()
        model[7].eval()
        model[0].weight.requires_grad_(False)
        model[8].weight.grad = torch.ones_like(model[8].weight)


class Raises(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError("no forward pass")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


both_statistics = pytest.mark.parametrize("statistics", ["running", "batch"])


@names
@both_statistics
@pytest.mark.parametrize("mode", ["train", "eval", "mixed"])
def test_an_attack_leaves_the_model_unchanged(name, statistics, mode, model, batch):
    put_in_mode(model, mode)
    before = everything_in(model)
    attack(name, model, statistics=statistics)(*batch)
    assert everything_in(model) == before


@names
@both_statistics
def test_an_attack_that_raises_leaves_the_model_unchanged(name, statistics, model, batch):
    broken = nn.Sequential(*model, Raises())
    put_in_mode(broken, "mixed")
    before = everything_in(broken)
    with pytest.raises(RuntimeError, match="no forward pass"):
        attack(name, broken, statistics=statistics)(*batch)
    assert everything_in(broken) == before


@names
@both_statistics
def test_a_model_that_changes_itself_in_train_or_eval_is_not_told_to(name, statistics, model, batch):
    calls = []
    model.train = lambda mode=True: calls.append(mode)  # such as a model that fuses its layers in eval()
    attack(name, model, statistics=statistics)(*batch)
    assert calls == []


@names
@both_statistics
def test_attacked_images_are_images_within_eps_and_detached(name, statistics, model, batch):
    images, labels = batch
    attacked = attack(name, model, statistics=statistics)(images.clone().requires_grad_(), labels)
    reach = {"tpgd": 3 * STEP, "n_fgsm": 3 * EPS}.get(name, EPS)  # the one starts at the image, the other far from it
    assert (attacked - images).abs().max() <= max(EPS, reach) + 1e-6
    assert (attacked - images).abs().max() > 0.9 * reach
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert not attacked.requires_grad
    assert (attacked.shape, attacked.dtype) == (images.shape, images.dtype)


@names
def test_an_attack_breaks_images_that_noise_of_the_same_size_does_not(name, model, batch):
    images, labels = batch
    with seeded(0):
        noisy = (images + EPS * torch.randn_like(images).sign()).clamp(0, 1)
        attacked = attack(name, model)(images, labels)
    model.eval()
    errors = [(model(shown).argmax(1) != labels).float().mean() for shown in (noisy, attacked)]
    assert errors[1] > errors[0] + 0.1


@names
@pytest.mark.parametrize("mode", ["train", "eval", "mixed"])
def test_images_are_those_of_the_attack_called_by_hand(name, mode, model, batch):
    with seeded(3):
        expected = by_hand(name, copy.deepcopy(model).eval())(*batch)
    put_in_mode(model, mode)
    with seeded(3):
        found = attack(name, model)(*batch)
    assert torch.equal(found, expected)


@names
@pytest.mark.parametrize("mode", ["train", "eval", "mixed"])
def test_batch_statistics_are_those_of_a_copy_that_tracks_none(name, mode, model, batch):
    trackless = copy.deepcopy(model).eval()
    for norm in (trackless[1], trackless[4]):
        norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
    with seeded(3):
        expected = by_hand(name, trackless)(*batch)
    put_in_mode(model, mode)
    with seeded(3):
        found = attack(name, model, statistics="batch")(*batch)
    assert torch.equal(found, expected)


def test_batch_statistics_are_those_of_the_training_step_itself(model, batch):
    images, labels = batch
    model[7].p = 0.0  # dropout apart, the training step sees the network that was attacked
    attacked = attack("fgsm", model, statistics="batch")(images, labels)
    shown = images.clone().requires_grad_()
    F.cross_entropy(model.train()(shown), labels).backward()
    assert torch.equal(attacked, (images + EPS * shown.grad.sign()).clamp(0, 1))


@names
def test_the_two_statistics_give_different_attacks(name, model, batch):
    found = []
    for statistics in ("running", "batch"):
        with seeded(3):
            found.append(attack(name, model, statistics=statistics)(*batch))
    assert not torch.equal(*found)


@names
@both_statistics
def test_a_supernet_without_running_statistics_can_be_attacked(name, statistics, batch):
    supernet = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten(), nn.Linear(144, 10)
    )
    with seeded(3):
        expected = by_hand(name, copy.deepcopy(supernet))(*batch)
    with seeded(3):
        found = attack(name, supernet, statistics=statistics)(*batch)
    assert torch.equal(found, expected)


def test_n_fgsm_without_noise_is_fgsm(model, batch):
    attack_without_noise = NFGSM(model=model.eval(), alpha=EPS, noise=0.0)
    assert torch.equal(attack_without_noise(*batch), torchattacks.FGSM(model, eps=EPS)(*batch))


@pytest.mark.parametrize("name", ["pgd", "fgsm_rs", "tpgd", "n_fgsm"])
def test_random_starts_come_from_the_global_generator(name, model, batch):
    with seeded(5):
        first, second = attack(name, model)(*batch), attack(name, model)(*batch)
    with seeded(5):
        again = attack(name, model)(*batch)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


@names
def test_parameters_record_no_gradient_during_the_attack(name, model, batch):
    seen = []
    model[8].register_forward_hook(lambda layer, *_: seen.append((layer.weight.requires_grad, torch.is_grad_enabled())))
    attack(name, model)(*batch)
    assert seen
    assert set(seen) == {(False, True)}


@names
@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_an_attack_finds_gradients_where_the_caller_turned_them_off(name, off, model, batch):
    with seeded(3):
        expected = attack(name, model)(*batch)
    with seeded(3), off():
        images, labels = (tensor.clone() for tensor in batch)
        assert torch.equal(attack(name, model)(images, labels), expected)


@names
def test_float64_is_kept(name, model, batch):
    images, labels = batch
    assert attack(name, model.double())(images.double(), labels).dtype == torch.float64


@names
def test_an_empty_batch_gives_an_empty_batch(name, model, batch):
    images, labels = batch
    assert attack(name, model)(images[:0], labels[:0]).shape == (0, 1, 8, 8)


@names
def test_a_single_image_can_be_attacked(name, model, batch):
    images, labels = batch
    assert attack(name, model)(images[:1], labels[:1]).shape == (1, 1, 8, 8)


def test_a_model_without_parameters_can_be_attacked(batch, capsys):
    attacked = attack("fgsm", nn.Flatten())(*batch)
    assert (attacked != batch[0]).any()
    assert capsys.readouterr().out == ""
