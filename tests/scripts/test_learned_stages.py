"""A learned optimizer where SGD would be: in a search and in retraining, through the scripts."""

import pytest
import torch

from learned_optimizers import LearnedOptimizer, new_theta
from pipeline.runs.metrics import read_metrics
from tests.support.forks import killed_until_done
from tests.support.scripts import TINY


def test_search_and_retraining_run_with_a_learned_optimizer_and_say_its_rate(tmp_path, call_script):
    theta, folder = tmp_path / "theta.safetensors", tmp_path / "run"
    new_theta("hierarchical", generator=torch.Generator().manual_seed(0)).save(theta)
    learned = ["weight_optimizer=learned", f"weight_optimizer.theta={theta}"]
    for script in ("search", "retrain"):
        status, _, err = call_script(script, *TINY, f"run={folder}", *learned)
        assert status == 0, err
    rows = read_metrics(folder)
    assert {row["stage"] for row in rows} == {"search", "retrain"}
    assert {row["learning_rate"] for row in rows} == {1.0}


def test_a_search_shows_the_learned_optimizer_its_losses(monkeypatch, tmp_path, call_script):
    theta, folder, shown = tmp_path / "theta.safetensors", tmp_path / "run", []
    new_theta("mlp", generator=torch.Generator().manual_seed(0)).save(theta)
    step, observe = LearnedOptimizer.step, LearnedOptimizer.observe_validation
    monkeypatch.setattr(
        LearnedOptimizer, "step", lambda self, *, loss: (shown.append(("train", float(loss))), step(self, loss=loss))
    )
    monkeypatch.setattr(
        LearnedOptimizer, "observe_validation", lambda self, loss: (shown.append(("valid", loss)), observe(self, loss))
    )
    status, _, err = call_script(
        "search", *TINY, f"run={folder}", "weight_optimizer=learned", f"weight_optimizer.theta={theta}"
    )
    assert status == 0, err
    expected = []
    for row in read_metrics(folder, "search"):
        expected += [("valid", row["objectives"]["accuracy"]), ("train", row["training_loss"])]
    assert shown == expected


@pytest.mark.slow
def test_a_search_by_a_learned_optimizer_killed_at_every_renaming_ends_in_the_same_bits(tmp_path, call_script):
    theta, whole, killed = tmp_path / "theta.safetensors", tmp_path / "whole", tmp_path / "killed"
    new_theta("hierarchical", generator=torch.Generator().manual_seed(0)).save(theta)
    learned = ("weight_optimizer=learned", f"weight_optimizer.theta={theta}")
    status, _, err = call_script("search", *TINY, *learned, f"run={whole}")
    assert status == 0, err
    assert killed_until_done("search", *learned, f"run={killed}") >= 5
    for name in ("genotype.json", "alphas.safetensors"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    assert read_metrics(killed, "search") == read_metrics(whole, "search")


@pytest.mark.parametrize(
    ("content", "message"), [(None, "is no file, and no shipped optimizer"), (b"no weights", "cannot be read as safet")]
)
def test_a_search_without_its_meta_parameters_is_refused_before_any_work(tmp_path, call_script, content, message):
    theta, folder = tmp_path / "theta.safetensors", tmp_path / "run"
    if content:
        theta.write_bytes(content)
    status, out, err = call_script(
        "search", *TINY, f"run={folder}", "weight_optimizer=learned", f"weight_optimizer.theta={theta}"
    )
    assert (status, out) == (2, "")
    assert err.startswith("error: weight_optimizer.theta: ")
    assert message in err
    assert not folder.exists()
