"""Free training replays batches as in its paper, and its perturbation stays in the ball."""

import copy

import torch
from torch.nn import functional as F

from pipeline.training.recipes import FreePerturbation
from tests.support.optimization.retrainings import assert_same, trained


def test_free_training_with_one_replay_and_no_radius_is_standard_training(retraining):
    free = ("recipe=free", "retrain.replays=1", "retrain.check_overfitting=false")
    expected = trained(retraining("recipe=standard"), epochs=2)
    assert_same(trained(retraining(*free, "retrain.attack.eps=1e-30"), epochs=2), expected)
    other = trained(retraining(*free, "retrain.attack.eps=0.1"), epochs=2)
    assert not torch.equal(other["classifier.linear.weight"], expected["classifier.linear.weight"])


def test_free_training_is_the_algorithm_of_its_paper(retraining):
    training = retraining("recipe=free", "retrain.replays=2", "weight_optimizer.clip=null")
    network, eps = copy.deepcopy(training.network), 0.1
    optimizer = torch.optim.SGD(network.parameters(), lr=training.learning_rate, momentum=0.9, weight_decay=3e-4)
    torch.manual_seed(0)
    images, labels = torch.rand(2, 24, 1, 8, 8), torch.randint(0, 10, (2, 24))
    delta = torch.zeros(24, 1, 8, 8)
    for batch, replay in [(0, 0), (0, 1), (1, 0), (1, 1)]:  # Shafahi et al. 2019, algorithm 1
        shown = delta.clone().requires_grad_()
        optimizer.zero_grad()
        F.cross_entropy(network((images[batch] + shown).clamp(0, 1)), labels[batch]).backward()
        optimizer.step()
        delta = (delta + eps * shown.grad.sign()).clamp(-eps, eps)
        training.step(images[batch], labels[batch])
        torch.testing.assert_close(
            training.training_step.free.value.detach(), delta, rtol=0, atol=0, msg=f"{batch}, {replay}"
        )
    for mine, theirs in zip(training.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_replays_count_as_passes_and_every_image_has_its_turn(retraining):
    training = retraining("recipe=free", "retrain.replays=3", "retrain.batch_size=10", "data.crop_padding=0")
    assert training.steps_per_epoch == 7
    distinct = []
    for epoch in range(7):  # 3 batches each: three turns through the 7 batches of an order
        batches = training.images.batches(epoch, done=0, replays=3)
        keys = [tuple(images.flatten().tolist()) for images, _ in batches]
        assert len(keys) == 7
        assert [keys.count(key) for key in dict.fromkeys(keys)] == [3, 3, 1]
        distinct += list(dict.fromkeys(keys))
    expected = []
    for turn in range(3):
        expected += [
            tuple((training.images.train.images[i] / 255).flatten().tolist()) for i in training.images.indices(turn)
        ]
    assert distinct == expected


def test_the_perturbation_stays_in_the_ball_and_the_images_in_their_range():
    free = FreePerturbation((2, 1, 8, 8), 0.1, torch.device("cpu"))
    for _ in range(3):
        free.ascend(torch.randn(2, 1, 8, 8))
        assert free.value.abs().max() <= torch.tensor(0.1)
        shown = free.on(torch.rand(2, 1, 8, 8).round())
        assert 0 <= shown.min() <= shown.max() <= 1
