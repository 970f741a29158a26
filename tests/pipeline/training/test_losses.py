"""Losses of robust training are the formulas of their papers, and standard training at their limits."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from torch.nn import functional as F

from pipeline.options.recipes import RECIPES
from pipeline.training.recipes import Outputs


def loss_of(recipe, network, batch, beta):
    return RECIPES[recipe].load()(lambda images: Outputs(network(images)), *batch, beta)[0]


def gradient(loss, network):
    return torch.cat([slope.flatten() for slope in torch.autograd.grad(loss, list(network.parameters()))])


def test_trades_with_beta_0_has_the_gradient_of_standard_training(network, batch):
    expected = gradient(F.cross_entropy(network(batch[0]), batch[2]), network)
    assert torch.equal(gradient(loss_of("trades", network, batch, 0.0), network), expected)
    assert not torch.allclose(gradient(loss_of("trades", network, batch, 6.0), network), expected, rtol=0.1)


def test_trades_without_an_attack_is_standard_training_whatever_beta_is(network, batch):
    unattacked = (batch[0], batch[0], batch[2])
    expected = gradient(loss_of("standard", network, unattacked, 0.0), network)
    found = gradient(loss_of("trades", network, unattacked, 6.0), network)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_trades_is_the_formula_of_its_paper(network, batch):
    images, attacked, labels = batch
    clean, robust = (network.double()(shown.double()).detach().numpy() for shown in (images, attacked))
    divergence = rel_entr(softmax(clean, axis=1), softmax(robust, axis=1)).sum(axis=1)
    expected = -log_softmax(clean, axis=1)[np.arange(12), labels].mean() + 6 * divergence.mean()
    found = loss_of("trades", network, (images.double(), attacked.double(), labels), 6.0)
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("beta", [0.0, 5.0])
def test_mart_is_the_formula_of_its_paper(network, batch, beta):
    images, attacked, labels = batch
    labels[:6] = network(attacked).argmax(dim=1)[:6]  # some are classified right, and the rival is the second class
    probabilities = [softmax(network.double()(x.double()).detach().numpy(), axis=1) for x in (images, attacked)]
    clean, robust = probabilities
    own = np.arange(12), labels.numpy()
    others = robust.copy()
    others[own] = 0
    boosted = -np.log(robust[own]) - np.log(1 - others.max(axis=1))
    weighted = rel_entr(clean, robust).sum(axis=1) * (1 - clean[own])
    found = loss_of("mart", network, (images.double(), attacked.double(), labels), beta)
    assert found.item() == pytest.approx((boosted + beta * weighted).mean(), rel=1e-12)


def test_the_boosted_term_of_mart_is_finite_where_a_wrong_class_is_certain():
    logits = torch.tensor([[200.0, 0.0, -5.0]], requires_grad=True)
    loss = RECIPES["mart"].load()(lambda images: Outputs(logits), logits, logits, torch.tensor([1]), 5.0)[0]
    (slope,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(200 + 200 - np.log1p(np.exp(-5)), rel=1e-6)  # log(1 + e^-5) is what is left
    assert slope.isfinite().all()


@pytest.mark.parametrize("recipe", ["pgd_at", "fast", "n_fgsm", "free"])
def test_adversarial_training_is_standard_training_on_attacked_images(recipe, network, batch):
    _, attacked, labels = batch
    expected = gradient(loss_of("standard", network, (attacked, attacked, labels), 0.0), network)
    assert torch.equal(gradient(loss_of(recipe, network, batch, 0.0), network), expected)
