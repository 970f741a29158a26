"""Weights are perturbed against the loss, or averaged over steps, and training goes on from its own."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pipeline.compute.seeds import seed_stream
from pipeline.training.recipes import WeightAverage, moved, unchanged_statistics, worst_change
from tests.support.optimization.retrainings import assert_same, small_network, trained


def test_a_weight_perturbation_has_the_relative_norm_gamma_and_leaves_vectors(network, batch):
    weights = list(network.parameters())
    slopes = torch.autograd.grad(F.cross_entropy(network(batch[0]), batch[2]), weights)
    for weight, slope, change in zip(weights, slopes, worst_change(weights, slopes, 0.02), strict=True):
        if weight.ndim < 2:
            assert not change.any()
            continue
        assert change.norm().item() == pytest.approx(0.02 * weight.norm().item(), rel=1e-5)
        assert F.cosine_similarity(change.flatten(), slope.flatten(), dim=0).item() == pytest.approx(1)
    still = worst_change(weights, [torch.zeros_like(weight) for weight in weights], 0.02)
    assert not any(change.any() for change in still)


def test_moved_weights_raise_the_loss_and_come_back_bit_for_bit_also_after_an_error(network, batch):
    weights = list(network.parameters())
    before = copy.deepcopy(network.state_dict())

    def loss_and_slopes():
        with unchanged_statistics(network):
            loss = F.cross_entropy(network(batch[0]), batch[2])
            return loss.item(), torch.autograd.grad(loss, weights)

    found, slopes = loss_and_slopes()
    changes = worst_change(weights, slopes, 0.05)
    with moved(weights, changes):
        assert loss_and_slopes()[0] > found + 0.01
    with pytest.raises(RuntimeError, match="within"), moved(weights, changes):
        raise RuntimeError("within")
    assert_same(network.state_dict(), before)


def test_weight_perturbation_acts_after_its_warm_up_alone_and_takes_the_gradient_at_the_moved_weights(retraining):
    settings = ("recipe=pgd_at", "retrain.drop_path=0", "retrain.awp_warmup=1", "weight_optimizer.clip=null")
    plain, perturbed = retraining(*settings), retraining(*settings, "retrain.awp_gamma=0.05")
    assert_same(trained(perturbed), trained(plain))
    images, labels = next(plain.batches())
    seed_stream(1)
    attacked = plain.training_step.attacked(images, labels)
    twin = copy.deepcopy(plain.network).train()
    weights = list(twin.parameters())
    slopes = torch.autograd.grad(F.cross_entropy(twin(attacked), labels), weights, materialize_grads=True)
    with moved(weights, worst_change(weights, slopes, 0.05)):
        loss = F.cross_entropy(twin(attacked), labels)
        slopes = torch.autograd.grad(loss, weights, materialize_grads=True)
    seed_stream(1)
    row = perturbed.step(images, labels)
    assert row["training_loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert row["gradient_norm"] == pytest.approx(torch.cat([s.flatten() for s in slopes]).norm().item(), rel=1e-4)
    steps = [int(b) for name, b in perturbed.network.named_buffers() if name.endswith("num_batches_tracked")]
    assert set(steps) == {plain.steps_per_epoch + 1}  # the ascent moved no statistics


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_averaged_weights_are_the_weighted_mean_of_those_of_all_steps(decay, network, batch):
    average, seen = WeightAverage(network, decay), []
    for seed in range(1, 5):
        network.load_state_dict(small_network(seed).state_dict())
        network(batch[0])  # moves the statistics of BatchNorm
        seen.append(copy.deepcopy(network.state_dict()))
        average.update(network)
    share = np.array([decay ** (3 - step) for step in range(4)])
    for name, found in average.network.state_dict().items():
        if decay == 0 or not found.is_floating_point():
            assert torch.equal(found, seen[-1][name])
        else:
            expected = np.average([state[name].numpy() for state in seen], axis=0, weights=share)
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_the_averaged_network_is_judged_and_kept_and_does_not_change_training(retraining):
    plain, averaged = retraining("recipe=standard"), retraining("recipe=standard", "retrain.average_decay=0.5")
    assert_same(trained(averaged), trained(plain))
    assert_same(averaged.judge.best_weights, averaged.training_step.kept_network.state_dict())
    assert not torch.equal(
        averaged.judge.best_weights["classifier.linear.weight"], plain.network.classifier.linear.weight
    )
