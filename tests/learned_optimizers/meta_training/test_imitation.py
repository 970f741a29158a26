"""Imitation: the laws of teachers, and that a fitted theta steps as its teacher does where it has not been."""

import json
from dataclasses import replace

import pytest
import torch
from torch.func import vmap

from e2rnas.cli.app import Refused, compose_experiment
from learned_optimizers import ARCHITECTURES, architecture, load_theta, new_theta
from learned_optimizers.architectures.registry import COMPONENT_WISE
from learned_optimizers.meta_training.baselines import BASELINES, RATE
from learned_optimizers.meta_training.imitation import Recording, Trial, imitated, relative_errors
from learned_optimizers.meta_training.judging import Judging, theta_curves
from learned_optimizers.meta_training.normalisation import rate_curves, weights_of_steps
from learned_optimizers.meta_training.teachers import TEACHER_RATES, falling_share, teacher
from learned_optimizers.tasks import Bucket
from tests.support.forks import killed_until_done
from tests.support.scripts import TINY_META

HORIZON = 40
BUCKETS = (Bucket("quadratics", 0), Bucket("autoencoder_clusters", 0))
STUDIED, FRESH = (0, 1, 2), (7, 8)


def recording(theta, bucket, indices=STUDIED, rate=0.03):
    return Recording(theta, "squashed", rate, bucket, indices, 0, HORIZON)()


def new(architecture):
    return new_theta(architecture, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def fitted():
    """Theta after a fit to trainings of the tasks that are studied."""
    theta = new("mlp")
    recorded = [recording(theta, bucket) for bucket in BUCKETS]
    generator = torch.Generator().manual_seed(1)
    return imitated(theta, recorded, steps=400, learning_rate=0.01, horizon=HORIZON, generator=generator)


def steps_of(rule, rate, gradients):
    """Parameters after each step from 0 on the given gradients: [steps, n]."""
    tensors, params, found = {RATE: torch.tensor(rate)}, [torch.zeros_like(gradients[0])], []
    state = rule.initial_state(tensors, params)
    for gradient in gradients:
        params, state = rule.update(tensors, state, params, [gradient])
        found.append(params[0])
    return torch.stack(found)


@pytest.mark.parametrize("name", ["momentum", "squashed"])
def test_a_teacher_does_not_see_the_scale_of_a_gradient_and_squashing_limits_its_steps(name):
    gradients = torch.randn(9, 50, generator=torch.Generator().manual_seed(0))
    found = steps_of(teacher(name, HORIZON), 0.1, gradients)
    torch.testing.assert_close(found, steps_of(teacher(name, HORIZON), 0.1, 1000 * gradients), rtol=1e-3, atol=1e-5)
    step = found[0]
    if name == "momentum":
        assert step.square().mean().sqrt() == pytest.approx(0.1, rel=1e-3)
        assert step.abs().max() > 0.15
    else:
        assert 0.09 < step.abs().max() < 0.1


def test_the_rate_falls_as_torchs_cosine_and_then_stays():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, HORIZON, eta_min=0.1)
    for step in range(HORIZON + 1):
        assert falling_share(torch.tensor(step), HORIZON).item() == pytest.approx(schedule.get_last_lr()[0], abs=1e-6)
        optimizer.step()
        schedule.step()
    assert falling_share(torch.tensor(1e5), HORIZON) == pytest.approx(0.1)


def test_weights_of_late_steps_grow_and_their_mean_over_a_training_is_1():
    for late in (0.0, 0.5, 1.0):
        whole = weights_of_steps(0, HORIZON, HORIZON, late)
        assert whole.mean().item() == pytest.approx(1)
        assert (whole[-1] / whole[0]).item() == pytest.approx((1 - late + late * 79 / 40) / (1 - late + late / 40))
        torch.testing.assert_close(weights_of_steps(15, 10, HORIZON, late), whole[15:25])


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - set(COMPONENT_WISE)))
def test_recorded_steps_are_the_teachers_on_its_own_path(architecture):
    theta = new(architecture)
    steps = recording(theta, BUCKETS[0])
    again = recording(theta, BUCKETS[0])
    assert all(torch.equal(a, b) for a, b in zip(steps.moved, again.moved, strict=True))
    times = steps.state["tensors"]["steps"].flatten() if architecture == "general" else steps.state["shared"]["step"]
    assert (times[:3] == 0).all()
    assert times.max() < HORIZON
    if architecture == "hierarchical":  # as in a training: a look at the validation loss comes before the first step
        assert (steps.state["shared"]["valid_count"][:3] == 1).all()
    sizes = (steps.params[0] - steps.moved[0]).abs().amax(1) / (0.03 * falling_share(times, HORIZON))
    assert sizes.max() <= 1 + 1e-4
    first = [torch.tanh(g / (g.square().mean().sqrt() + 2e-5)) for g in steps.gradients[0][:3]]
    torch.testing.assert_close((steps.params[0] - steps.moved[0])[:3], 0.03 * torch.stack(first), rtol=1e-3, atol=1e-5)


def test_theta_is_in_no_error_against_itself_and_in_a_whole_one_against_a_much_larger_step():
    theta = new("mlp")
    steps = recording(theta, BUCKETS[1])
    ours = vmap(lambda s: architecture("mlp").update(theta.tensors, s.state, s.params, s.gradients)[0])(steps)
    assert relative_errors(theta, steps._replace(moved=tuple(ours))).max() < 1e-4
    far = tuple(param + 100 for param in steps.params)
    torch.testing.assert_close(
        relative_errors(theta, steps._replace(moved=far)), torch.ones(len(steps.loss)), rtol=1e-2, atol=0
    )


def test_late_steps_are_the_same_ones_at_the_rate_that_stays():
    steps = recording(new("mlp"), BUCKETS[0])
    late = torch.arange(len(steps.loss)) % 2 == 0
    found = steps.later(late, HORIZON, torch.Generator().manual_seed(0))
    for before, after in zip(steps.params, found.params, strict=True):
        assert torch.equal(before, after)
    assert torch.equal(found.moved[0][~late], steps.moved[0][~late])
    times = found.state["shared"]["step"]
    assert torch.equal(times[~late], steps.state["shared"]["step"][~late])
    assert HORIZON <= times[late].min() < 1000 < times[late].max() <= 1e5
    share = falling_share(steps.state["shared"]["step"], HORIZON)[late, None]
    expected = (steps.moved[0] - steps.params[0])[late] * 0.1 / share
    torch.testing.assert_close((found.moved[0] - found.params[0])[late], expected, rtol=1e-3, atol=1e-6)


def test_a_fitted_theta_steps_as_its_teacher_on_tasks_that_it_has_not_seen(fitted):
    generator = torch.Generator().manual_seed(2)
    for bucket in BUCKETS:
        fresh = recording(new("mlp"), bucket, FRESH)
        everywhere = fresh.later(torch.arange(len(fresh.loss)) % 4 == 0, HORIZON, generator)
        assert relative_errors(new("mlp"), everywhere).mean() > 0.9
        assert relative_errors(fitted, everywhere).mean().sqrt() < 0.2


def test_a_training_by_a_fitted_theta_is_that_by_its_teacher(fitted):
    for bucket in BUCKETS:
        tasks = [bucket.task(0, index) for index in FRESH]
        ours = theta_curves(fitted, tasks, HORIZON, seed=3, split="test")
        rule = teacher("squashed", HORIZON)
        theirs = rate_curves(rule, [0.03], tasks, HORIZON, seed=3, split="test")[:, 0]
        still = rate_curves(rule, [0.0], tasks, HORIZON, seed=3, split="test")[:, 0]
        assert (theirs - still)[-10:].mean() < 0
        assert ((ours - theirs).abs().mean() / (theirs - still).abs().mean()) < 0.1


def test_the_hierarchical_optimizer_comes_closer_to_a_teacher():
    theta = new("hierarchical")
    recorded, fresh = (recording(theta, BUCKETS[0], indices) for indices in (STUDIED, FRESH))
    generator = torch.Generator().manual_seed(0)
    found = imitated(theta, [recorded], steps=40, learning_rate=0.02, horizon=HORIZON, generator=generator)
    assert relative_errors(found, fresh).mean() < 0.8 * relative_errors(theta, fresh).mean()


def test_rates_are_tried_on_the_scale_and_with_the_weights_of_outer_training():
    scale = torch.tensor([[2.0, 0.0]]).expand(3, -1)
    trial = Trial("momentum", BUCKETS[0], STUDIED, 0, 15, 2.0, 0.5, scale)
    tasks = [BUCKETS[0].task(0, index) for index in STUDIED]
    curves = rate_curves(teacher("momentum", 15), TEACHER_RATES, tasks, 15, seed=0, split="outer_validation")
    expected = sum((curves[t] / 2).clamp(max=2) * (0.5 + (t + 0.5) / 15) for t in range(15)) / 15
    torch.testing.assert_close(trial(), expected)


def test_the_judged_weighted_mean_counts_late_losses_more():
    scale = torch.tensor([[2.0, 0.0]]).expand(2, -1)
    judged = Judging(new("mlp"), BUCKETS[0], FRESH, 0, 12, 2.0, scale)
    alike = judged()
    torch.testing.assert_close(alike[2], alike[0])
    curves = theta_curves(new("mlp"), [BUCKETS[0].task(0, i) for i in FRESH], 12, seed=0, split="outer_validation")
    expected = ((curves / 2).clamp(max=2) * (2 * torch.arange(12)[:, None] + 1) / 12).mean(0)
    torch.testing.assert_close(replace(judged, late=1.0)()[2], expected)


IMITATED = (*TINY_META, "meta.imitate.steps=4", "meta.late=0.5")


@pytest.mark.slow
def test_a_training_after_imitation_killed_at_every_renaming_ends_in_the_same_bits(tmp_path, call_script):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    status, _, err = call_script("meta_train", *IMITATED, "meta.processes=2", f"run={whole}")
    assert status == 0, err
    assert killed_until_done("meta_train", *IMITATED, f"run={killed}") >= 4
    assert (killed / "theta.safetensors").read_bytes() == (whole / "theta.safetensors").read_bytes()
    made = json.loads((killed / "theta.json").read_text())
    assert made["imitation"] == json.loads((whole / "theta.json").read_text())["imitation"]
    assert made["imitation"]["teacher"] == "squashed"
    assert made["imitation"]["rate"] in TEACHER_RATES
    assert [row["step"] for row in made["curve"]] == [0, 2, 3]
    assert made["best"]["weighted"] == min(row["weighted"] for row in made["curve"])


def test_what_is_kept_is_the_imitation_where_outer_training_makes_it_worse(tmp_path, call_script):
    folder = tmp_path / "run"
    status, out, err = call_script("meta_train", *IMITATED, f"run={folder}", "meta.learning_rate=10", "meta.steps=2")
    assert status == 0, err
    assert "of outer step 0;" in out
    assert load_theta(folder / "theta.safetensors").vector().abs().max() < 5


def test_a_teacher_that_is_not_is_refused_with_those_that_are():
    with pytest.raises(Refused, match=r"meta.imitate.teacher: expected one of momentum, squashed"):
        compose_experiment(["meta.imitate.teacher=adam"])
    with pytest.raises(ValueError, match="expected a teacher out of momentum, squashed, found 'adam'"):
        teacher("adam", 10)


def test_the_shipped_optimizer_is_below_default_adam_after_its_horizon_and_stays_there():
    tasks = [Bucket("mlp_digits", 2).task(0, index) for index in (2000, 2001)]
    ours = theta_curves(load_theta("mlp"), tasks, 400, seed=4, split="test").mean(1)
    adam = rate_curves(BASELINES["adam"], [1e-3], tasks, 200, seed=4, split="test")[:, 0].mean(1)
    reached = ours[190:200].mean()
    assert reached < 0.5 * adam[190:].mean()
    assert ours[390:].mean() < 1.2 * reached
