"""Recipes of robust training: a law of each, the formulas of its paper, and all of them on real images."""

import copy
import shutil
import sys

import numpy as np
import pytest
import torch
import torchattacks
from scipy.special import log_softmax, rel_entr, softmax
from torch import nn
from torch.nn import functional as F

from attacks.noise_fgsm import NFGSM
from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.compute.seeds import seed_stream
from pipeline.data import load
from pipeline.networks.network_files import load_network
from pipeline.options.recipes import RECIPES
from pipeline.presentation.words import recipe_in_words
from pipeline.runs.files import read_json
from pipeline.runs.metrics import read_metrics
from pipeline.settings import RetrainSettings
from pipeline.training.held_back_judge import HeldBackJudge
from pipeline.training.network_trainer import Retraining
from pipeline.training.recipes import (
    FreePerturbation,
    Judged,
    Outputs,
    WeightAverage,
    best,
    first_overfitted,
    has_overfitted,
    is_out_of_patience,
    moved,
    unchanged_statistics,
    worst_change,
)
from search_space import PUBLISHED
from tests.support.forks import killed_until_done
from tests.support.scripts import ROOT, TINY, run_script

CELL = PUBLISHED["PDARTS"].genotype
every_recipe = pytest.mark.parametrize("recipe", RECIPES)


def small_network(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)]
    return nn.Sequential(*layers)


@pytest.fixture
def network():
    return small_network()


@pytest.fixture
def batch():
    torch.manual_seed(1)
    images = torch.rand(12, 1, 8, 8)
    return images, (images + 0.1 * torch.randn_like(images)).clamp(0, 1), torch.randint(0, 10, (12,))


@pytest.fixture(scope="module")
def retraining():
    """A retraining of a tiny network on digits, by overrides."""

    def make(*overrides):
        experiment = compose_experiment([*TINY, "retrain.auxiliary_weight=0", *overrides])
        return Retraining(experiment, load(experiment.data), make_fabric(experiment.fabric), CELL)

    return make


def loss_of(recipe, network, batch, beta):
    return RECIPES[recipe].load()(lambda images: Outputs(network(images)), *batch, beta)[0]


def gradient(loss, network):
    return torch.cat([slope.flatten() for slope in torch.autograd.grad(loss, list(network.parameters()))])


def trained(retraining, epochs=1):
    for _ in range(epochs):
        retraining.start_epoch()
        for images, labels in retraining.batches():
            retraining.step(images, labels)
            retraining.end_step()
    return {name: tensor.clone() for name, tensor in retraining.network.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


# Losses


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


# The learning rate


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


# Attacks of training

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


# Free training


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


# Adversarial weight perturbation


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


# Weight averaging


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


# Judging


def judgements(robust, own=None):
    own = own or [None] * len(robust)
    return [Judged(epoch, a, 0.9, t) for epoch, (a, t) in enumerate(zip(robust, own, strict=True), start=1)]


def test_the_best_epoch_is_the_last_of_those_with_the_highest_accuracy():
    assert best(judgements([0.1, 0.5, 0.5, 0.4])).epoch == 3


@pytest.mark.parametrize(
    ("robust", "patience", "over_after"),
    [
        ([0.1, 0.3, 0.2, 0.25, 0.5], 2, 4),
        ([0.1, 0.3, 0.2, 0.31, 0.5], 2, None),
        ([0.3, 0.3, 0.3], 2, 3),  # as good is not better
        ([0.3, 0.2], 1, 2),
        ([0.3, 0.2, 0.1, 0.0], None, None),
    ],
)
def test_patience_ends_after_so_many_judgements_without_a_better_one(robust, patience, over_after):
    found = judgements(robust)
    over = [count for count in range(len(found) + 1) if is_out_of_patience(found[:count], patience)]
    assert over[:1] == ([over_after] if over_after else [])


@pytest.mark.parametrize(
    ("robust", "own", "epoch"),
    [
        ([0.3, 0.4, 0.05, 0.0], [0.5, 0.6, 0.8, 0.9], 3),  # planted: its own attack is resisted better and better
        ([0.4, 0.3, 0.2], [0.6, 0.6, 0.55], 3),  # slowly
        ([0.3, 0.4, 0.35, 0.45], [0.5, 0.6, 0.55, 0.65], None),  # honest
        ([0.4, 0.05], [0.6, 0.1], None),  # the whole training fell
        ([0.05, 0.0], [0.8, 0.9], None),  # it never resisted PGD: nothing fell
        ([0.4, 0.0], None, None),  # not compared
    ],
)
def test_catastrophic_overfitting_is_a_fall_under_pgd_alone(robust, own, epoch):
    assert first_overfitted(judgements(robust, own)) == epoch


def test_an_epoch_that_recovers_is_no_longer_overfitted():
    found = judgements([0.4, 0.0, 0.38], [0.6, 0.9, 0.6])
    assert [has_overfitted(found[:count]) for count in (1, 2, 3)] == [False, True, False]
    assert first_overfitted(found) == 2


# Settings and words


@pytest.mark.parametrize("attack", ["standard", "pgd_at", "mart"])
def test_a_check_for_overfitting_without_a_second_attack_is_refused(attack):
    with pytest.raises(ValueError, match=f"recipe={attack} trains with (no attack|pgd)"):
        RetrainSettings(recipe=attack, check_overfitting=True)
    assert RetrainSettings(recipe="pgd_at", attack={"name": "fgsm_rs"}, check_overfitting=True).check_overfitting


def test_weight_perturbation_that_would_never_act_is_refused():
    with pytest.raises(ValueError, match="awp_warmup=3 leaves none of 3 epochs for AWP"):
        RetrainSettings(epochs=3, awp_gamma=0.01, awp_warmup=3)
    assert RetrainSettings(epochs=3, awp_warmup=3).awp_gamma == 0  # without AWP its warm-up is no matter


@every_recipe
def test_a_recipe_has_its_published_beta_and_its_words(recipe):
    settings = compose_experiment([f"recipe={recipe}"]).retrain
    assert settings.recipe == recipe
    assert (settings.beta or 0.0) == RECIPES[recipe].beta == {"trades": 6, "mart": 5}.get(recipe, 0)
    expected = {"standard": "without attacks", "pgd_at": "under PGD-10", "mart": "by MART under PGD-10"}
    assert recipe_in_words(settings.model_dump()).startswith(expected.get(recipe, ""))
    assert recipe_in_words(settings.model_dump())


# Through the script, on digits


@pytest.fixture
def succeed(call_script):
    def call(*overrides):
        status, out, err = call_script("retrain", *TINY, "genotype=PDARTS", *overrides)
        assert status == 0, err
        return out

    return call


@every_recipe
def test_each_recipe_trains_through_the_script_and_reports_best_and_last(recipe, tmp_path, succeed):
    folder = tmp_path / "run"
    out = succeed(f"run={folder}", f"recipe={recipe}", "retrain.attack.steps=2")
    training = load_network(folder).description.training
    rows = [row for row in read_metrics(folder, "retrain") if "held_back_accuracy" in row]
    assert [row["epoch"] for row in rows] == [0, 1]
    held_back = training["held_back"]
    assert held_back["last"]["accuracy"] == rows[-1]["held_back_accuracy"]
    assert held_back["best"]["accuracy"] == max(row["held_back_accuracy"] for row in rows)
    assert held_back["gap"] == held_back["best"]["accuracy"] - held_back["last"]["accuracy"]
    assert ("catastrophic_overfitting" in rows[0]) == (recipe in ("fast", "n_fgsm", "free"))
    assert f"epoch {training['best_epoch']}" in out


def test_a_planted_overfitting_is_logged_and_named_and_the_checkpoint_from_before_is_kept(
    tmp_path, succeed, monkeypatch
):
    planted = {"pgd": [0.3, 0.5, 0.1, 0.0], "fgsm_rs": [0.5, 0.6, 0.8, 0.9]}
    weights = []

    def accuracy(self, attack, epoch):
        if attack is None:
            weights.append(self.network.classifier.linear.weight.detach().clone())
            return 0.9
        return planted[attack.spec.name][epoch]

    monkeypatch.setattr(HeldBackJudge, "_accuracy", accuracy)
    folder = tmp_path / "run"
    out = succeed(f"run={folder}", "recipe=fast", "retrain.epochs=4")
    trained_network = load_network(folder)
    training = trained_network.description.training
    assert (training["best_epoch"], training["overfitted_in_epoch"]) == (2, 3)
    assert training["held_back"]["gap"] == 0.5
    assert training["held_back"]["last"] == {"epoch": 4, "accuracy": 0.0, "clean": 0.9, "trained": 0.9}
    rows = [row for row in read_metrics(folder, "retrain") if "held_back_accuracy" in row]
    assert [row["catastrophic_overfitting"] for row in rows] == [False, False, True, True]
    assert torch.equal(trained_network.network.classifier.linear.weight, weights[1])
    assert "catastrophic" in out


def test_training_out_of_patience_stops_and_stays_stopped(tmp_path, succeed, monkeypatch):
    accuracies = [0.2, 0.4, 0.3, 0.4, 0.1, 0.9]
    monkeypatch.setattr(HeldBackJudge, "_accuracy", lambda self, attack, epoch: accuracies[epoch])
    folder = tmp_path / "run"
    succeed(f"run={folder}", "recipe=standard", "retrain.epochs=6", "retrain.patience=2")
    training = read_json(folder / "network.json")["training"]
    assert (training["best_epoch"], training["held_back"]["last"]["epoch"]) == (4, 4)
    (folder / "network.json").unlink()  # as if killed before it was written
    succeed(f"run={folder}", "recipe=standard", "retrain.epochs=6", "retrain.patience=2")
    assert read_json(folder / "network.json")["training"]["held_back"]["last"]["epoch"] == 4


ALL_STATE = ["recipe=free", "retrain.replays=2", "retrain.awp_gamma=0.01", "retrain.awp_warmup=1"]


def test_a_killed_run_with_all_that_recipes_keep_ends_in_the_same_bits(tmp_path, succeed):
    overrides = [*ALL_STATE, "retrain.average_decay=0.9", "retrain.patience=5"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    succeed(f"run={whole}", *overrides)
    assert killed_until_done("retrain", f"run={killed}", "genotype=PDARTS", *overrides) >= 4
    assert (killed / "network.safetensors").read_bytes() == (whole / "network.safetensors").read_bytes()
    assert read_metrics(killed, "retrain") == read_metrics(whole, "retrain")


def test_the_benchmark_writes_a_line_a_recipe(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import recipes as benchmark

    arguments = ["--recipes", "free", "--seeds", "0", "1", "--results", str(tmp_path), "--overrides", *TINY]
    monkeypatch.setattr(sys, "argv", ["recipes.py", *arguments, "retrain.epochs=1", "evaluate.attacks=[pgd-20]"])
    benchmark.main()
    lines = (tmp_path / "recipes_digits.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("|")] == ["| recipe", "| ---", "| free"]
    assert "seeds 0, 1" in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_resume_with_the_perturbation_of_each(tmp_path):
    command = [*TINY, *ALL_STATE, "genotype=PDARTS", "fabric.devices=2", "retrain.average_decay=0.9"]
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert run_script("retrain", *command, f"run={whole}")[0] == 0
    shutil.copytree(whole, resumed)
    (resumed / "network.json").unlink()
    max((resumed / "checkpoint").glob("retrain-*.ckpt")).unlink()
    assert run_script("retrain", *command, f"run={resumed}")[0] == 0
    assert (resumed / "network.safetensors").read_bytes() == (whole / "network.safetensors").read_bytes()
    assert read_metrics(resumed, "retrain") == read_metrics(whole, "retrain")
