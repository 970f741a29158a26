"""Steps of training follow their schedule of rates, on the images that their attack makes."""

import copy

import pytest
import torch
import torchattacks

from attacks.noise_fgsm import NFGSM
from pipeline.compute.seeds import seed_stream


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_the_rate_falls_as_torchs_cosine_after_each_epoch_or_step(interval, retraining):
    training = retraining(f"retrain.rate_interval={interval}", "retrain.final_rate=0.1", "retrain.epochs=3")
    first, steps = training.training_step.optimizer.param_groups[0]["lr"], training.steps_per_epoch
    assert steps > 1
    oracle = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=first)
    total = 3 * (steps if interval == "step" else 1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(oracle, total, eta_min=0.1 * first)
    for _ in range(3):
        training.start_epoch()
        for images, labels in training.batches():
            training.step(images, labels)
            rate = training.training_step.optimizer.param_groups[0]["lr"]
            assert rate == pytest.approx(oracle.param_groups[0]["lr"])
            training.end_step()
            oracle.step()
            if interval == "step" or training.steps_of_epoch == 0:
                schedule.step()
    assert oracle.param_groups[0]["lr"] == pytest.approx(0.1 * first)


BY_HAND = {
    "pgd_at": lambda model: torchattacks.PGD(model, eps=0.1, alpha=0.025, steps=2),
    "mart": lambda model: torchattacks.PGD(model, eps=0.1, alpha=0.025, steps=2),
    "trades": lambda model: torchattacks.TPGD(model, eps=0.1, alpha=0.025, steps=2),
    "fast": lambda model: torchattacks.FFGSM(model, eps=0.1, alpha=0.125),
    "n_fgsm": lambda model: NFGSM(model=model, alpha=0.1, noise=0.2),
}


@pytest.mark.parametrize("recipe", BY_HAND)
def test_a_step_trains_on_the_images_that_its_attack_makes(recipe, retraining):
    training = retraining(f"recipe={recipe}", "retrain.attack.steps=2")
    images, labels = next(training.batches())
    victim = copy.deepcopy(training.network).eval()
    seed_stream(4)
    expected = BY_HAND[recipe](victim)(images, labels)
    seen = []

    def see(module, inputs):
        if module.training:  # and not attacked
            seen.append(inputs[0])

    training.network.register_forward_pre_hook(see)
    statistics = [buffer.clone() for buffer in training.network.buffers()]
    seed_stream(4)
    attacked = training.training_step.attacked(images, labels)
    assert all(torch.equal(*pair) for pair in zip(statistics, training.network.buffers(), strict=True))
    seed_stream(4)
    training.step(images, labels)
    assert any(torch.equal(shown, expected) for shown in seen)
    assert torch.equal(attacked, expected)
