"""A learned optimizer where SGD would be: in a search and in retraining, through the scripts."""

import pytest
import torch

from e2rnas.cli import exit_status
from learned_optimizers import Theta, architecture, new_theta
from pipeline.runs.metrics import read_metrics
from pipeline.training.optimizers import FromScratch
from tests.support.forks import RETRAIN, SEARCH, killed_until_done
from tests.support.scripts import FEW_OPERATIONS, TINY
from tests.support.slowly import slowly


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
    # the class that is made, as PyTorch gives each a step of its own when its first object is made
    step, observe = FromScratch.step, FromScratch.observe_validation
    monkeypatch.setattr(
        FromScratch, "step", lambda self, *, loss: (shown.append(("train", float(loss))), step(self, loss=loss))
    )
    monkeypatch.setattr(
        FromScratch, "observe_validation", lambda self, loss: (shown.append(("valid", loss)), observe(self, loss))
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


def destroying_theta(direction, magnitude):
    """Meta-parameters that move nothing in the first four steps, and then all weights by far."""
    tensors = {name: torch.zeros(shape) for name, shape in architecture("mlp").shapes.items()}
    tensors["input.weight"][0, 1] = 1  # the weight itself: what is the same for all classes would change no loss
    tensors["input.weight"][0, 9] = 40  # tanh(t / sqrt(10) - 1): -0.05 at t = 3, 0.26 at t = 4
    tensors["input.bias"][0] = -4
    tensors["hidden.weight"][0, 0] = 1
    tensors["output.weight"][:, 0] = torch.tensor([direction, magnitude])
    return Theta("mlp", tensors)


IN_SEARCH = (SEARCH, "search step 5, epoch 1, batch 2 of 4: ")
IN_RETRAINING = (RETRAIN, "retraining step 5, epoch 1, batch 2 of 4: ")
ABOVE = (1e4, 0, "the training loss is ")
NOT_FINITE = (1e4, 1e6, "expected finite logits, found NaN")


@pytest.mark.parametrize(
    ("stage", "where", "direction", "magnitude", "message"),
    [
        (*IN_SEARCH, *NOT_FINITE),
        (*IN_RETRAINING, *ABOVE),
        *slowly((*IN_SEARCH, *ABOVE), (*IN_RETRAINING, *NOT_FINITE)),
    ],
    ids=["search, not finite", "retrain, above its start", "search, above its start", "retrain, not finite"],
)
def test_a_training_that_a_learned_optimizer_destroys_ends_in_a_line_with_advice_and_keeps_its_checkpoint(
    tmp_path, call_script, stage, where, direction, magnitude, message
):
    theta, folder = tmp_path / "theta.safetensors", tmp_path / "run"
    destroying_theta(direction, magnitude).save(theta)
    learned = ["weight_optimizer=learned", f"weight_optimizer.theta={theta}"]
    status, _, err = call_script(stage.script, *stage.overrides, f"run={folder}", *learned)
    assert (status, err.count("\n")) == (exit_status.STOPPED, 1), err
    assert err.startswith(f"stopped: {where}")
    assert message in err
    assert "; weight_optimizer=learned does not train this network; use weight_optimizer=sgd or adamw" in err
    (path,) = folder.glob("checkpoint/*.ckpt")
    assert path.name.startswith(f"{stage.script}-00000004-")
    again, _, same = call_script(stage.script, *stage.overrides, f"run={folder}", *learned)
    assert (again, same) == (status, err)  # as the run that goes on meets it


@pytest.mark.slow
def test_the_shipped_optimizer_is_not_stopped_on_the_networks_of_the_demo(tmp_path, call_script):
    tiny = ["data.limit=200", "data.test_limit=64", "search.epochs=2", "retrain.epochs=2", "retrain.select_every=2"]
    tiny += ["attack.steps=1", "retrain.attack.steps=1", FEW_OPERATIONS]
    overrides = ["experiment=demo", *tiny, "search.batch_size=20", "retrain.batch_size=20", "fabric.accelerator=cpu"]
    for script in ("search", "retrain"):
        status, _, err = call_script(script, *overrides, f"run={tmp_path}", "weight_optimizer=learned")
        assert status == 0, err
        losses = [row["training_loss"] for row in read_metrics(tmp_path, script)]
        assert max(losses[:20]) < 2 * losses[0]
