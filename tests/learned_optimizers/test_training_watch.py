"""A learned optimizer warns, once, where it is used beyond what its meta-parameters were trained for."""

import copy
import json
import os
import warnings

import pytest
import torch

from learned_optimizers import BeyondTrainingWarning, LearnedOptimizer, load_theta, new_theta


def theta_with(horizon=None):
    theta = new_theta("mlp", generator=torch.Generator().manual_seed(0))
    return type(theta)(theta.architecture, theta.tensors, horizon)


def optimizer_of(theta):
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3)
    return LearnedOptimizer([parameter], theta)


def warned(optimizer, losses):
    """Step once a loss; the texts of warnings, by the step before which they came."""
    found = {}
    for step, loss in enumerate(losses):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            optimizer.step(loss=loss)
        assert all(warning.category is BeyondTrainingWarning for warning in caught)
        if caught:
            (warning,) = caught
            found[step] = str(warning.message)
    return found


def test_it_warns_once_as_it_goes_beyond_the_steps_that_it_was_trained_for():
    found = warned(optimizer_of(theta_with(3)), [1.0] * 8)
    assert found == {3: "this learned optimizer was trained for 3 steps and goes on for more"}


def test_it_counts_steps_without_a_loss_too():
    assert list(warned(optimizer_of(theta_with(3)), [None] * 5)) == [3]


def test_it_does_not_warn_of_steps_where_nobody_says_how_many_it_was_trained_for():
    assert warned(optimizer_of(theta_with(None)), [1.0] * 30) == {}


def test_it_warns_once_where_one_of_the_first_losses_is_above_three_times_the_first():
    found = warned(optimizer_of(theta_with()), [2.0, 6.0, 6.5, 1.0, 70.0])
    assert list(found) == [2]
    assert "after 2 steps of a learned optimizer the training loss is 6.5, and was 2 at first" in found[2]


@pytest.mark.parametrize(
    "losses",
    [[1.0] * 20 + [50.0], [-2.0, -1.0, 5.0], [0.0, 5.0], [None, None, 2.0, 5.0]],
    ids=["after 20 steps", "below zero", "from zero", "shown late"],
)
def test_it_does_not_warn_of_other_losses(losses):
    assert warned(optimizer_of(theta_with()), losses) == {}


@pytest.mark.parametrize("way", ["state", "copy"])
def test_a_run_that_goes_on_warns_as_one_that_was_never_stopped(way):
    losses = [2.0, 1.0, 9.0, 1.0, 1.0, 9.0]
    expected = warned(optimizer_of(theta_with(4)), losses)
    assert list(expected) == [2, 4]
    first = optimizer_of(theta_with(4))
    found = warned(first, losses[:3])
    again = copy.deepcopy(first) if way == "copy" else optimizer_of(theta_with(4))
    if way == "state":
        again.load_state_dict(first.state_dict())
    again.param_groups[0]["params"][0].grad = torch.ones(3)  # no copy has it
    found |= {3 + step: text for step, text in warned(again, losses[3:]).items()}
    assert found == expected


def test_a_state_from_before_there_was_a_watch_is_gone_on_from():
    optimizer = optimizer_of(theta_with(2))
    state = optimizer.state_dict()
    del state["shared"]["watch"]
    optimizer.load_state_dict(state)
    assert list(warned(optimizer, [1.0] * 4)) == [2]


def test_the_shipped_optimizer_says_for_how_many_steps_it_was_trained():
    assert load_theta("mlp").horizon == 200


def card(horizon):
    return json.dumps({"settings": {"meta": {"horizon": horizon}}})


@pytest.mark.parametrize(
    ("content", "horizon"),
    [
        (None, None),
        (card(7), 7),
        *((card(wrong), None) for wrong in (True, 0, -1, "7", 7.0, None)),
        ("[]", None),
        ('{"settings": 3}', None),
        ("no JSON", None),
        (b"\xff\xfe", None),
        ("[" * 100_000, None),
    ],
)
def test_the_horizon_of_a_theta_is_what_the_card_beside_it_says_if_it_is_one(tmp_path, content, horizon):
    theta_with().save(tmp_path / "theta.safetensors")
    if content is not None:
        (tmp_path / "theta.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert load_theta(tmp_path / "theta.safetensors").horizon == horizon


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_is_no_card(tmp_path, make):
    theta_with().save(tmp_path / "theta.safetensors")
    make(tmp_path / "theta.json")
    assert load_theta(tmp_path / "theta.safetensors").horizon is None
