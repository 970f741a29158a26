"""Outer training: what a truncation estimates, how streams go on; a restored training ends in the same bits."""

import io
import math
from dataclasses import replace

import pytest
import torch

from learned_optimizers import LearnedOptimizer, load_theta, new_theta
from learned_optimizers.meta_training.baselines import BASELINES
from learned_optimizers.meta_training.judging import Judging, Scaling, theta_curves
from learned_optimizers.meta_training.normalisation import ADAM_RATES, best_reached, normalised, rate_curves, scales
from learned_optimizers.meta_training.outer import Lengths, OuterTraining
from learned_optimizers.meta_training.truncated_unrolls import Truncation, UnrollRecipe
from learned_optimizers.tasks import Bucket, buckets
from learned_optimizers.tasks.task import seeded_generator

RECIPE = UnrollRecipe(
    seed=0,
    task_seed=0,
    estimator="es",
    pairs=3,
    sigma=0.01,
    horizon=12,
    full=False,
    cap=2.0,
    outer_batches=2,
)
CLUSTERS = Bucket("mlp_clusters", 2)
SCALE = torch.tensor([[1.5, 0.2]]).expand(4, -1)


@pytest.fixture
def theta():
    return new_theta("mlp", generator=torch.Generator().manual_seed(0))


def truncation(theta, bucket=CLUSTERS, stream=None, step=0, length=4, **changes):
    return Truncation(replace(RECIPE, **changes), bucket, theta, stream, length, step, SCALE)


def test_normalised_losses_are_1_at_the_start_0_at_the_best_and_end_at_the_cap():
    scale = torch.tensor([[3.0, 1.0], [3.0, 1.0], [2.0, 2.0]])
    losses = torch.tensor([[3.0, 1.0, 2.1], [torch.nan, torch.inf, 1.9], [100.0, 0.0, 2.0]])
    found = normalised(losses, scale, 2.0)
    # no gain by Adam: a span of 5 % of the loss instead
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0, 1.0], [2.0, 2.0, -1.0], [2.0, -0.5, 0.0]]))


def test_logarithms_of_losses_are_1_at_the_start_0_at_the_best_and_know_no_unit():
    scale, losses = torch.tensor([[2.0, 0.02]]), torch.tensor([[2.0], [0.02], [0.2], [0.0], [torch.nan]])
    found = normalised(losses, scale, 2.0, logarithmic=True)[:, 0]
    torch.testing.assert_close(found[[0, 1, 4]], torch.tensor([1.0, 0.0, 2.0]))
    assert found[2].item() == pytest.approx(math.log(0.202 / 0.022) / math.log(2.002 / 0.022), rel=1e-5)
    assert found[3].item() == pytest.approx(-math.log(11) / math.log(91), rel=1e-5)  # a thousandth is what counts least
    torch.testing.assert_close(normalised(1e-3 * losses, 1e-3 * scale, 2.0, logarithmic=True)[:, 0], found)


def test_scales_are_those_of_the_best_rate_and_what_overflows_is_not_reached():
    tasks = [CLUSTERS.task(0, index) for index in range(2)]
    found = rate_curves(BASELINES["adam"], ADAM_RATES, tasks, 15, seed=0, split="test")
    windows = [[found[t : t + 10, rate, 1].mean() for t in range(6)] for rate in range(len(ADAM_RATES))]
    torch.testing.assert_close(scales(tasks, 15, seed=0, split="test")[1, 1], torch.tensor(windows).min())
    assert best_reached(torch.tensor([3.0] * 10 + [torch.nan] + [0.0] * 5)) == 3


@pytest.mark.parametrize("bucket", [CLUSTERS, Bucket("copy", 1), Bucket("quadratics", 0)], ids=str)
def test_both_estimators_of_a_truncation_see_the_same_slope(theta, bucket):
    """For small sigma, (l+ - l-) / (2 sigma) is the derivative along eps, and RP is the gradient."""
    found = truncation(theta, bucket, estimator="merged", sigma=2e-3)()
    eps = torch.randn(3, theta.num_parameters, generator=seeded_generator(0, *bucket, "eps", 0))
    along_eps = found.es[:, 0] / eps[:, 0]
    torch.testing.assert_close(along_eps, (found.rp * eps).sum(1), rtol=0.05, atol=2e-3)
    assert (found.rp.norm(dim=1) > 0).all()


def test_a_truncation_goes_on_from_where_the_first_members_are(theta):
    first = truncation(theta)().stream
    assert first.lanes.step == min(4, first.end)
    for param in first.lanes.params:
        assert torch.equal(param[:3], param[3:])
    second = truncation(theta, stream=first, step=1)()
    if not first.is_over:
        assert second.stream.lanes.step == min(first.end, first.lanes.step + 4)
        assert second.stream.indices == first.indices
    over = replace(first, end=first.lanes.step)
    third = truncation(theta, stream=over, step=1)().stream
    assert (third.episode, third.lanes.step, third.end) == (first.episode + 1, 4, 12)


def test_members_of_persistent_es_go_on_apart_and_remember_how_they_were_moved(theta):
    begun = replace(truncation(theta, estimator="pes", length=1)().stream, end=12)
    assert not torch.equal(begun.lanes.params[0][:3], begun.lanes.params[0][3:])
    next_one = truncation(theta, estimator="pes", stream=begun, step=1)()
    eps = [torch.randn(3, theta.num_parameters, generator=seeded_generator(0, *CLUSTERS, "eps", k)) for k in (0, 1)]
    torch.testing.assert_close(next_one.stream.moved, eps[0] + eps[1])
    plus, minus = next_one.losses.chunk(2)
    expected = ((plus - minus) / (2 * RECIPE.sigma))[:, None] * (eps[0] + eps[1])
    torch.testing.assert_close(next_one.es, expected)


def test_lanes_that_overflow_count_as_the_cap_and_begin_again(theta):
    wild = replace(theta, tensors=theta.tensors | {"output.bias": torch.tensor([1.0, 1e6])})
    found = truncation(wild, estimator="merged", length=3)()
    assert found.not_finite == 6
    assert found.losses.max() <= 2
    assert found.es.isfinite().all()
    assert found.rp.isfinite().all()
    assert torch.equal(found.rp, found.es)
    assert all(param.isfinite().all() for param in found.stream.lanes.params)
    assert found.stream.moved.abs().max() == 0
    one = truncation(theta, estimator="merged", length=3)()
    assert one.not_finite == 0


def test_lengths_grow_in_a_line_between_0_8_and_1_2_times():
    lengths = Lengths(20, 50, 100)
    for step, mean in ((0, 20), (50, 35), (100, 50), (1000, 50)):
        found = [lengths.at(step, torch.Generator().manual_seed(seed)) for seed in range(200)]
        assert min(found) == pytest.approx(0.8 * mean, abs=1.5)
        assert max(found) == pytest.approx(1.2 * mean, abs=1.5)


FAMILIES = ("quadratics", "surfaces")


def hierarchical():
    return new_theta("hierarchical", generator=torch.Generator().manual_seed(3))


def training(theta, **changes):
    settings = {"lengths": Lengths(4, 6, 5), "streams": 2, "learning_rate": 3e-3, "clip": 0.1} | changes
    recipe = replace(RECIPE, estimator=settings.pop("estimator", "es"))
    return OuterTraining(theta, recipe, dict.fromkeys(buckets(FAMILIES), SCALE), **settings)


@pytest.mark.parametrize(
    ("estimator", "trainer"), [("merged", None), ("pes", None), ("es", "mlp"), ("es", "hierarchical")]
)
def test_a_restored_training_ends_in_the_same_bits(theta, estimator, trainer):
    if trainer is not None:
        trainer = load_theta("mlp") if trainer == "mlp" else hierarchical()
    whole = training(theta, estimator=estimator, trainer=trainer)
    rows = [whole.step() for _ in range(6)]
    file = io.BytesIO()
    first = training(theta, estimator=estimator, trainer=trainer)
    for _ in range(3):
        first.step()
    torch.save(first.state(), file)
    file.seek(0)
    second = training(theta, estimator=estimator, trainer=trainer)
    second.restore(torch.load(file, weights_only=True))
    assert [second.step() for _ in range(3)] == rows[3:]
    assert torch.equal(second.theta.vector(), whole.theta.vector())


def test_a_learned_optimizer_takes_the_outer_steps_on_the_clipped_gradient_that_adam_would_get(theta):
    seen = {}
    for name, trainer in (("adam", None), ("learned", load_theta("mlp"))):
        outer = training(theta, trainer=trainer)
        outer.optimizer.register_step_post_hook(
            lambda optimizer, *_, name=name: seen.update({name: optimizer.param_groups[0]["params"][0].grad.clone()})
        )
        outer.step()
    assert torch.equal(seen["adam"], seen["learned"])
    alone = theta.vector().detach().clone().requires_grad_()
    alone.grad = seen["learned"]
    LearnedOptimizer([alone], load_theta("mlp")).step()
    assert torch.equal(outer.theta.vector(), alone.detach())
    assert not torch.equal(alone.detach(), theta.vector())


def test_a_trainer_that_reads_losses_is_shown_the_mean_of_the_step_as_both(theta):
    outer = training(theta, trainer=hierarchical())
    row = outer.step()
    alone = theta.vector().detach().clone().requires_grad_()
    alone.grad = outer.optimizer.param_groups[0]["params"][0].grad.clone()
    loss = torch.tensor(row["loss"])
    optimizer = LearnedOptimizer([alone], hierarchical())
    optimizer.step(loss=loss, valid_loss=loss)
    torch.testing.assert_close(outer.theta.vector(), alone.detach(), rtol=0, atol=1e-7)
    assert outer.optimizer.shared["valid_count"] == 1
    for name in ("train_mean", "valid_mean"):
        torch.testing.assert_close(outer.optimizer.shared[name], optimizer.shared[name])


def test_buckets_take_turns(theta):
    outer = training(theta, streams=2)
    for _ in range(3):
        outer.step()
    assert set(outer.streams) == set(buckets(FAMILIES))
    with pytest.raises(ValueError, match="expected 1 to 6 streams in a step, as many as buckets, found 7"):
        training(theta, streams=7)


def test_the_order_in_which_truncations_are_computed_does_not_matter(theta):
    def backwards(function, works):
        works = list(works)
        return [function(work) for work in reversed(works)][::-1]

    one, other = training(theta, estimator="merged"), training(theta, estimator="merged")
    for _ in range(2):
        assert one.step() == other.step(backwards)
    assert torch.equal(one.theta.vector(), other.theta.vector())


def test_no_element_of_a_gradient_is_above_the_clip(theta):
    outer = training(theta, clip=1e-6)
    row = outer.step()
    assert outer._vector.grad.abs().max() <= 1e-6
    assert row["clipped"] > 0.5
    assert row["gradient_norm"] > 1e-6 * theta.num_parameters**0.5


def test_training_lowers_the_loss_on_tasks_that_train_nothing(theta):
    bucket = Bucket("quadratics", 0)
    of_training, of_judging = (Scaling(bucket, indices, 0, 12)() for indices in ((0, 1, 2, 3), (9, 10, 11)))
    recipe = replace(RECIPE, estimator="merged", full=True)
    outer = OuterTraining(
        theta, recipe, {bucket: of_training}, lengths=Lengths(12, 12, 1), streams=1, learning_rate=1e-2, clip=0.1
    )

    def judged():
        return Judging(outer.theta, bucket, (9, 10, 11), 0, 12, 2.0, of_judging)()[0].mean()

    before = judged()
    for _ in range(25):
        outer.step()
    assert judged() < 0.85 * before


def test_a_curve_of_theta_is_that_of_the_optimizer_step_by_step(theta):
    from learned_optimizers.architectures.registry import architecture
    from learned_optimizers.meta_training.unroll import Draw

    task = CLUSTERS.task(0, 1)
    found = theta_curves(theta, [CLUSTERS.task(0, 0), task], 6, seed=0, split="test")[:, 1]
    draw, rule = Draw.of_trainings([task], seed=0, split="test"), architecture("mlp")
    batches = draw.batches(0, 6)
    params = [p[0] for p in draw.start(rule, {k: v[None] for k, v in theta.tensors.items()}).params]
    state = rule.initial_state(theta.tensors, params)
    for index in range(6):
        leaves = [p.detach().requires_grad_() for p in params]
        loss = task.loss(leaves, (), tuple(x[index, 0] for x in batches.train))
        gradients = torch.autograd.grad(loss, leaves)
        with torch.no_grad():
            params, state = rule.update(theta.tensors, state, leaves, gradients, loss=loss, valid_loss=None)
            expected = task.loss(params, (), tuple(x[index, 0] for x in batches.outer))
        torch.testing.assert_close(found[index], expected, rtol=1e-4, atol=1e-5)
