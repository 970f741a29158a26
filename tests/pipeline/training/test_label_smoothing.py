"""Smoothed labels in the losses of the recipes: a law, the formulas written out, and where they are not smoothed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from torch import nn
from torch.nn import functional as F

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.compute.seeds import seed_stream
from pipeline.data import load
from pipeline.options.recipes import RECIPES
from pipeline.presentation.words import recipe_in_words
from pipeline.settings import RetrainSettings
from pipeline.training.network_trainer import Retraining
from pipeline.training.recipes import Outputs
from pipeline.training.steps import loss_of_settings
from search_space import PUBLISHED
from tests.support.scripts import TINY

CLASSES, SMOOTHING = 10, 0.3
every_recipe = pytest.mark.parametrize("recipe", RECIPES)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES)).double()


@pytest.fixture
def batch():
    torch.manual_seed(1)
    images = torch.rand(12, 1, 8, 8, dtype=torch.float64)
    return images, (images + 0.1 * torch.randn_like(images)).clamp(0, 1), torch.randint(0, CLASSES, (12,))


def retraining(*overrides):
    experiment = compose_experiment([*TINY, *overrides])
    return Retraining(experiment, load(experiment.data), make_fabric(experiment.fabric), PUBLISHED["PDARTS"].genotype)


def loss_and_slopes(network, batch, **settings):
    loss, _ = loss_of_settings(RetrainSettings(**settings))(lambda images: Outputs(network(images)), *batch)
    return loss, torch.autograd.grad(loss, list(network.parameters()))


@every_recipe
def test_labels_smoothed_by_nothing_give_the_same_bits(recipe, network, batch):
    beta = RECIPES[recipe].beta
    plain, _ = RECIPES[recipe].load()(lambda images: Outputs(network(images)), *batch, beta)
    expected = torch.autograd.grad(plain, list(network.parameters()))
    loss, slopes = loss_and_slopes(network, batch, recipe=recipe, label_smoothing=0.0)
    assert torch.equal(loss, plain)
    assert all(torch.equal(*pair) for pair in zip(slopes, expected, strict=True))


@every_recipe
def test_smoothed_losses_are_their_formulas_written_out(recipe, network, batch):
    images, attacked, labels = batch
    clean, robust = (network(shown).detach().numpy() for shown in (images, attacked))
    own = np.arange(len(labels)), labels.numpy()

    def smoothed(logits):
        wanted = np.full_like(logits, SMOOTHING / CLASSES)
        wanted[own] += 1 - SMOOTHING
        return -(wanted * log_softmax(logits, axis=1)).sum(axis=1)

    divergence = rel_entr(softmax(clean, axis=1), softmax(robust, axis=1)).sum(axis=1)
    others = softmax(robust, axis=1)
    others[own] = 0
    margin, doubt = -np.log(1 - others.max(axis=1)), 1 - softmax(clean, axis=1)[own]
    losses = {
        "standard": smoothed(clean),
        "trades": smoothed(clean) + 6 * divergence,
        "mart": smoothed(robust) + margin + 5 * divergence * doubt,
    }
    expected = losses.get(recipe, smoothed(robust)).mean()
    found, _ = loss_and_slopes(network, batch, recipe=recipe, label_smoothing=SMOOTHING)
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("recipe", ["standard", "pgd_at"])
def test_a_smoothed_cross_entropy_is_that_of_pytorch(recipe, network, batch):
    shown = batch[0] if recipe == "standard" else batch[1]
    expected = F.cross_entropy(network(shown), batch[2], label_smoothing=SMOOTHING)
    assert torch.equal(loss_and_slopes(network, batch, recipe=recipe, label_smoothing=SMOOTHING)[0], expected)


@every_recipe
def test_the_attack_of_a_step_is_on_labels_that_are_not_smoothed(recipe):
    found = []
    for smoothing in (0, SMOOTHING):
        training = retraining(f"recipe={recipe}", f"retrain.label_smoothing={smoothing}")
        images, labels = next(training.batches())
        seed_stream(4)
        found.append(training.training_step.attacked(images, labels).detach())
    assert torch.equal(*found)


def test_the_auxiliary_head_learns_the_same_labels():
    training = retraining("recipe=standard", f"retrain.label_smoothing={SMOOTHING}", "retrain.auxiliary_weight=0.4")
    images, labels = next(training.batches())
    logits, auxiliary = training.network.forward_with_auxiliary(images)
    losses = [F.cross_entropy(each, labels, label_smoothing=SMOOTHING).item() for each in (logits, auxiliary)]
    row = training.step(images, labels)
    assert row["training_loss"] == pytest.approx(losses[0] + 0.4 * losses[1], rel=1e-5)


def test_a_recipe_without_a_cross_entropy_of_labels_is_not_smoothed(monkeypatch):
    monkeypatch.setitem(RECIPES, "other", replace(RECIPES["pgd_at"], smooths=False))
    with pytest.raises(ValueError, match=r"label_smoothing=0.1 is of a cross entropy .* recipe=other does not take"):
        RetrainSettings(recipe="other", label_smoothing=0.1)
    assert "smoothing" not in loss_of_settings(RetrainSettings(recipe="other")).keywords


def test_a_report_says_what_was_smoothed_and_averaged():
    recipe = RetrainSettings(recipe="trades", label_smoothing=0.1, average_decay=0.999).model_dump()
    words = "by TRADES under PGD-10 with labels smoothed by 0.1 and weights averaged by a decay of 0.999"
    assert recipe_in_words(recipe) == words
    assert recipe_in_words({**recipe, "average_decay": 0.0}) == words.partition(" and ")[0]
