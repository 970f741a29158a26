"""Perturbations carried from epoch to epoch: always in the ball, at their own pixels, and in every checkpoint."""

from itertools import pairwise

import pytest
import torch
import torchattacks
from lightning_fabric import Fabric
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from attacks import ContinuedPGD
from e2rnas.cli.app import Refused, compose_experiment
from pipeline.compute.seeds import stream_seed
from pipeline.data import NOWHERE, Batch, Images, Origin, as_float, augmentation, load
from pipeline.search.bilevel_search import BilevelSearch
from pipeline.search.carried_attack import LEVELS, CarriedAttack, Perturbations
from pipeline.settings import DataSettings
from tests.support.runs.stopped import Stop, run_search
from tests.support.scripts import TINY, run_script
from tests.support.slowly import slowly

EPS, STEP = 0.1, 0.025
CARRIED = (*TINY, "attack.carry_over=true", "data.crop_padding=1", "data.flip=true")


@pytest.fixture(scope="module")
def digits():
    return load(DataSettings(limit=100)).train


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(144, 10))


@pytest.fixture(scope="module")
def batch():
    data = load_digits()
    return torch.tensor(data.images[:16] / 16)[:, None], torch.tensor(data.target[:16])  # float64


def noise(images, size=EPS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return size * (2 * torch.rand(images.shape, generator=generator, dtype=images.dtype) - 1)


def loss(model, images, labels):
    with torch.no_grad():
        return F.cross_entropy(model.eval()(images), labels).item()


# the attack


@pytest.mark.parametrize("size", [0.0, EPS, 5.0])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_from_any_start_the_images_stay_in_the_ball_and_in_the_range(model, batch, size, steps, dtype):
    images, labels = batch[0].to(dtype), batch[1]
    attack = ContinuedPGD(model=model.to(dtype), eps=EPS, step=STEP, steps=steps)
    attacked = attack(images, labels, noise(images, size))
    assert (attacked - images).abs().max() <= EPS + 1e-7
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert not attacked.requires_grad


def test_three_steps_and_two_more_are_five(model, batch):
    images, labels = batch
    start, model = noise(images), model.double()

    def attack(steps, at):
        return ContinuedPGD(model=model, eps=EPS, step=STEP, steps=steps)(images, labels, at)

    torch.testing.assert_close(attack(2, attack(3, start) - images), attack(5, start), rtol=0, atol=1e-12)


def test_from_the_same_random_start_the_images_are_those_of_torchattacks(model, batch):
    images, labels = batch
    model = model.double().eval()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = torchattacks.PGD(model, eps=EPS, alpha=STEP, steps=4)(images, labels)
        torch.manual_seed(3)
        start = torch.empty_like(images).uniform_(-EPS, EPS)
    found = ContinuedPGD(model=model, eps=EPS, step=STEP, steps=4)(images, labels, start)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_start_of_another_shape_or_not_finite_is_refused(model, batch):
    images, labels = batch
    attack = ContinuedPGD(model=model.double(), eps=EPS, step=STEP)
    with pytest.raises(ValueError, match=r"a finite start of shape \[16, 1, 8, 8\], found shape \[3, 1, 8, 8\]"):
        attack(images, labels, noise(images)[:3])
    with pytest.raises(ValueError, match="finite start"):
        attack(images, labels, noise(images) / 0)
    with pytest.raises(ValueError, match="expected steps >= 1"):
        ContinuedPGD(model=model, steps=0)
    with pytest.raises(ValueError, match="expected 0 < eps"):
        ContinuedPGD(model=model, eps=8)


# augmentation


AUGMENTATIONS = [
    {},
    {"crop_padding": 2},
    {"flip": True},
    {"cutout": 3},
    {"crop_padding": 2, "flip": True, "cutout": 3},
]


def augmented(settings, images, *, traced, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        augment = augmentation(DataSettings(**settings), images.shape[-1])
        return augment.traced(images) if traced else augment(images)


@pytest.mark.parametrize("settings", AUGMENTATIONS)
def test_a_traced_augmentation_is_the_same_and_names_the_pixels_it_shows(settings):
    images = 0.1 + 0.3 * torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))  # neither 0 nor grey
    found, source = augmented(settings, images, traced=True)
    assert torch.equal(found, augmented(settings, images, traced=False))
    own = images.flatten(2).gather(2, source.clamp_min(0)[:, None].expand(-1, 3, -1))
    new = (source == NOWHERE)[:, None].expand_as(own)
    assert torch.equal(found.flatten(2)[~new], own[~new])
    assert set(found.flatten(2)[new].tolist()) <= {0.0, 0.5}  # padding and cutout
    assert new.any() == (settings not in ({}, {"flip": True}))
    assert all(len(row[row >= 0].unique()) == len(row[row >= 0]) for row in source)


@pytest.mark.parametrize("settings", AUGMENTATIONS)
def test_what_is_shown_is_what_augmentation_makes_of_the_perturbed_image(settings, digits):
    perturbations = Perturbations(digits.images, EPS)
    perturbations.restart(5)
    plain = 0.3 + 0.4 * as_float(digits.images)  # so that the range cuts nothing
    perturbed = plain + perturbations.unit * perturbations.levels.view_as(plain)
    augmented_plain, source = augmented(settings, plain, traced=True)
    origin = Origin("weights", torch.arange(len(digits)), source)
    expected = augmented(settings, perturbed, traced=False) - augmented_plain
    torch.testing.assert_close(perturbations.shown(origin).view_as(plain), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("settings", AUGMENTATIONS)
def test_what_is_kept_is_shown_again_and_other_pixels_keep_theirs(settings, digits):
    perturbations = Perturbations(digits.images, EPS)
    perturbations.restart(5)
    before = perturbations.levels.clone()
    indices = torch.tensor([7, 3, 50, 99])
    shown, source = augmented(settings, as_float(digits.images[indices]), traced=True)
    origin = Origin("weights", indices, source)
    change = noise(shown).flatten(2)
    perturbations.keep(origin, change)
    expected = torch.where(source[:, None] == NOWHERE, 0, change)
    assert (perturbations.shown(origin) - expected).abs().max() <= perturbations.unit / 2 * 1.001
    others = torch.ones(len(digits), dtype=torch.bool).index_fill(0, indices, False)
    assert torch.equal(perturbations.levels[others], before[others])
    for row, image in zip(source, indices, strict=True):
        hidden = torch.ones(64, dtype=torch.bool).index_fill(0, row[row >= 0], False)
        assert torch.equal(perturbations.levels[image][:, hidden], before[image][:, hidden])


def test_stored_perturbations_never_leave_the_ball_and_take_a_byte_a_value(digits):
    perturbations = Perturbations(digits.images, EPS)
    origin = Origin("weights", torch.arange(len(digits)), torch.arange(64).expand(len(digits), -1))
    perturbations.keep(origin, 3 * torch.randn(len(digits), 1, 64, generator=torch.Generator().manual_seed(0)))
    assert perturbations.shown(origin).abs().max() <= EPS * (1 + 1e-6)
    assert perturbations.levels.nbytes == digits.images.nbytes


def test_a_random_start_is_uniform_in_the_ball(digits):
    perturbations = Perturbations(digits.images, EPS)
    perturbations.restart(1)
    levels = perturbations.levels.double()
    assert levels.abs().max() == LEVELS
    assert levels.mean().abs() < 4 * levels.std() / levels.numel() ** 0.5
    assert levels.var().item() == pytest.approx(((2 * LEVELS + 1) ** 2 - 1) / 12, rel=0.05)  # of a discrete uniform


# the search


def carried_attack(model, digits, reset_every=None, steps=1):
    attack = ContinuedPGD(model=model, eps=EPS, step=STEP, steps=steps)
    fabric = Fabric(accelerator="cpu")
    return CarriedAttack(attack, {"weights": digits}, fabric, seed=0, reset_every=reset_every)


def test_single_steps_add_up_over_the_epochs_to_an_attack_of_many(model, digits):
    images = Images(digits.images[:32], digits.labels[:32])
    carried = carried_attack(model, images)
    plain = as_float(images.images)
    batch = Batch(plain, images.labels, Origin("weights", torch.arange(32), torch.arange(64).expand(32, -1)))
    carried.start_epoch(0)
    losses = [loss(model, carried(batch), images.labels) for _ in range(8)]
    start = Perturbations(images.images, EPS)
    start.restart(stream_seed(0, "perturbations", "weights", 0))
    many = ContinuedPGD(model=model, eps=EPS, step=STEP, steps=8)
    expected = loss(model, many(plain, images.labels, start.shown(batch.origin).view_as(plain)), images.labels)
    assert losses[-1] == pytest.approx(expected, rel=1e-2)  # the int8 between the epochs is all that differs
    clean = loss(model, plain, images.labels)
    assert losses[0] - clean < 0.5 * (losses[-1] - clean)


def test_perturbations_restart_at_the_first_epoch_and_at_each_period(model, digits):
    carried = carried_attack(model, digits, reset_every=3)
    seen = []
    for epoch in range(7):
        carried.start_epoch(epoch)
        seen.append(carried.state()["weights"].clone())
    changes = [not torch.equal(a, b) for a, b in pairwise(seen)]
    assert changes == [False, False, True, False, False, True]
    never = carried_attack(model, digits)
    never.start_epoch(0)
    assert torch.equal(never.state()["weights"], seen[0])
    never.start_epoch(1)
    assert torch.equal(never.state()["weights"], seen[0])


def test_a_batch_without_an_origin_is_refused(model, digits):
    with pytest.raises(ValueError, match="knows its origin"):
        carried_attack(model, digits)(Batch(as_float(digits.images[:4]), digits.labels[:4]))


def newest(folder):
    path = max((folder / "checkpoint").glob("search-*.ckpt"))
    return torch.load(path, weights_only=True)["perturbations"]


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [1, *slowly(2)])
def test_a_stopped_search_resumes_to_the_same_bits_with_its_perturbations(tmp_path, monkeypatch, stop_after):
    experiment = compose_experiment([*CARRIED, "search.epochs=3", "attack.reset_every=2"])
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run_search(whole, experiment)
    with monkeypatch.context() as patched, pytest.raises(Stop):
        run_search(stopped, experiment, patched, stop_after)
    run_search(stopped, experiment)
    assert (stopped / "alphas.safetensors").read_bytes() == (whole / "alphas.safetensors").read_bytes()
    for name, levels in newest(whole).items():
        assert torch.equal(newest(stopped)[name], levels)


def test_a_search_goes_on_from_the_perturbations_of_the_epoch_before(monkeypatch):
    experiment = compose_experiment(CARRIED)
    bilevel = BilevelSearch(experiment, load(experiment.data), Fabric(accelerator="cpu"))
    starts = []
    attack = ContinuedPGD.__call__

    def recording(self, images, labels, start):
        starts.append(start)
        return attack(self, images, labels, start)

    monkeypatch.setattr(ContinuedPGD, "__call__", recording)
    for _ in range(2):
        for train, valid in bilevel.batches():
            kept = [bilevel.carried.perturbations[batch.origin.part].shown(batch.origin) for batch in (valid, train)]
            starts.clear()
            bilevel.step(train, valid)
            assert len(starts) == 2
            for start, expected in zip(starts, kept, strict=True):
                assert torch.equal(start.flatten(2), expected)
        bilevel.state.end_epoch()
    carried = bilevel.carried.perturbations
    assert {name: len(p.levels) for name, p in carried.items()} == {"weights": 40, "alphas": 40}


@pytest.mark.slow
def test_two_processes_know_the_perturbations_of_all_images(tmp_path):
    status, _, err = run_script("search", *CARRIED, f"run={tmp_path}", "search.epochs=1", "fabric.devices=2")
    assert status == 0, err
    for name, levels in newest(tmp_path).items():
        start = Perturbations(levels, EPS)
        start.restart(stream_seed(0, "perturbations", name, 0))
        assert (levels != start.levels).flatten(1).any(dim=1).all()  # each image was seen by one process or the other


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["attack=fgsm_rs", "attack.carry_over=true"], "goes on with steps of pgd, not of fgsm_rs"),
        (["retrain.attack.carry_over=true"], "unknown key retrain.attack.carry_over"),
        (["attack.reset_every=0"], "attack.reset_every"),
    ],
)
def test_a_carry_over_that_cannot_be_is_refused(overrides, message):
    with pytest.raises(Refused, match=message):
        compose_experiment(overrides)
