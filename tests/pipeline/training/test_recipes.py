"""Recipes of robust training are checked as settings and put in words; all train on digits, through the script."""

import shutil
import sys

import pytest
import torch

from e2rnas.cli.app import compose_experiment
from pipeline.networks.network_files import load_network
from pipeline.options.recipes import RECIPES
from pipeline.presentation.words import recipe_in_words
from pipeline.runs.files import read_json
from pipeline.runs.metrics import read_metrics
from pipeline.settings import RetrainSettings
from pipeline.training.held_back_judge import HeldBackJudge
from tests.support.forks import killed_until_done
from tests.support.scripts import ROOT, SMALL_CELL, TINY, run_script

every_recipe = pytest.mark.parametrize("recipe", RECIPES)


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


@pytest.fixture
def succeed(call_script):
    def call(*overrides):
        status, out, err = call_script("retrain", *TINY, SMALL_CELL, *overrides)
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
    assert killed_until_done("retrain", f"run={killed}", SMALL_CELL, *overrides) >= 4
    assert (killed / "network.safetensors").read_bytes() == (whole / "network.safetensors").read_bytes()
    assert read_metrics(killed, "retrain") == read_metrics(whole, "retrain")


@pytest.mark.slow
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
    command = [*TINY, *ALL_STATE, SMALL_CELL, "fabric.devices=2", "retrain.average_decay=0.9"]
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert run_script("retrain", *command, f"run={whole}")[0] == 0
    shutil.copytree(whole, resumed)
    (resumed / "network.json").unlink()
    max((resumed / "checkpoint").glob("retrain-*.ckpt")).unlink()
    assert run_script("retrain", *command, f"run={resumed}")[0] == 0
    assert (resumed / "network.safetensors").read_bytes() == (whole / "network.safetensors").read_bytes()
    assert read_metrics(resumed, "retrain") == read_metrics(whole, "retrain")
