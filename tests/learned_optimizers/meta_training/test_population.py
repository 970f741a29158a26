"""A population that trains itself: no other optimizer, who copies whom, lost members, and the same bits always."""

import doctest
import io
import math
from dataclasses import replace

import pytest
import torch

from learned_optimizers import LearnedOptimizer, new_theta
from learned_optimizers.meta_training.judging import Scaling, ThetaExam
from learned_optimizers.meta_training.normalisation import start_scales
from learned_optimizers.meta_training.outer import Lengths, OuterTraining
from learned_optimizers.meta_training.population import (
    Member,
    OuterRecipe,
    Population,
    SelectionRules,
    first_members,
    random_thetas,
    selection,
)
from learned_optimizers.meta_training.population.member import MemberStep
from learned_optimizers.meta_training.population.selection import exploit, ranked
from learned_optimizers.meta_training.truncated_unrolls import UnrollRecipe
from learned_optimizers.tasks import Bucket, seeded_generator

BUCKET = Bucket("quadratics", 0)
JUDGED = (9, 10)
UNROLL = UnrollRecipe(
    seed=0,
    task_seed=0,
    estimator="es",
    pairs=2,
    sigma=0.01,
    horizon=4,
    full=False,
    cap=2.0,
    outer_batches=1,
)
RULES = SelectionRules(best=1, exploited=1, noise=0.01, sigma_factor=2.0, new_trainer=0.5)


@pytest.fixture(scope="module")
def recipe():
    return OuterRecipe(UNROLL, {BUCKET: Scaling(BUCKET, (0, 1, 2), 0, None)()}, Lengths(2, 3, 4), 1, 0.1)


def population(recipe, architecture="mlp", rules=RULES, members=3):
    exam = ThetaExam({BUCKET: Scaling(BUCKET, JUDGED, 0, None)()}, JUDGED, 0, 4, 2.0)
    like = new_theta(architecture, generator=torch.Generator())
    first = first_members(architecture, members, recipe, scale=2.0)
    return Population(like, first, recipe, rules, exam)


def trained(each, steps, mapper=map):
    while each.steps < steps:
        if each.steps % 2 == 0:
            each.judge(mapper)
        each.step(mapper)
    return each


@pytest.mark.parametrize("architecture", ["mlp", "hierarchical"])
def test_no_optimizer_but_ours_takes_a_step(recipe, monkeypatch, architecture):
    def refuse(self, *arguments, **named):
        raise AssertionError(f"{type(self).__name__} took a step")

    kinds, found = [torch.optim.Optimizer], []
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if kind is not LearnedOptimizer:
            found.append(kind)
            monkeypatch.setattr(kind, "step", refuse)
    assert torch.optim.Adam in found
    adam = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    with pytest.raises(AssertionError, match="Adam took a step"):
        adam.step()
    each = population(recipe, architecture)
    before = [member.vector for member in each.members]
    trained(each, 2)
    assert not any(torch.equal(a, b.vector) for a, b in zip(before, each.members, strict=True))


def test_the_scale_of_a_task_is_its_loss_at_the_start_and_is_measured_without_steps():
    task = Bucket("mlp_clusters", 2).task(0, 3)
    generator = [seeded_generator(0, "training", "mlp_clusters", task.configuration.index, p) for p in ("initial",)]
    params = task.initial(generator[0])
    of_outer = seeded_generator(0, "training", "mlp_clusters", task.configuration.index, "outer_validation", 0)
    samples = task.samples("outer_validation", 1, 5 * task.batch_size, of_outer)
    expected = task.loss(params, task.constants, tuple(tensor[0] for tensor in samples))
    found = start_scales([task], seed=0)
    torch.testing.assert_close(found, torch.tensor([[expected.item(), 0.0]]))


@pytest.mark.filterwarnings("ignore::learned_optimizers.BeyondTrainingWarning")
def test_a_member_is_trained_as_by_a_learned_optimizer_with_the_snapshot_and_both_losses(recipe):
    """The oracle is the outer training of one theta, whose steps have tests of their own."""
    member = first_members("hierarchical", 2, recipe, trainers=[1, 0])[0]
    like = new_theta("hierarchical", generator=torch.Generator())
    whole = OuterTraining(
        like.with_vector(member.vector),
        recipe.of_member(0, member.sigma),
        recipe.scales,
        lengths=recipe.lengths,
        streams=1,
        learning_rate=1.0,
        clip=0.1,
        trainer=like.with_vector(member.snapshot),
    )
    rows = [whole.step()["loss"] for _ in range(3)]
    losses = []
    for step in range(3):
        member, loss = MemberStep(recipe, like, 0, member, step)()
        losses.append(loss)
    assert losses == rows
    assert torch.equal(member.vector, whole.theta.vector())
    shared = member.state["shared"]["state"]
    assert shared["valid_count"] == 3  # the training loss was shown as both
    assert shared["train_mean"] > 0


def test_members_start_apart_and_see_tasks_of_their_own(recipe):
    members = first_members("mlp", 5, recipe, scale=8.0)
    assert sorted(member.trainer for member in members) == [0, 1, 2, 3, 4]
    for member in members:
        assert torch.equal(member.snapshot, members[member.trainer].vector)
    sizes = [member.vector.norm().item() for member in members]
    smallest = new_theta("mlp", generator=torch.Generator().manual_seed(0)).vector().norm().item()
    assert all(0.9 * smallest < size < 8.8 * smallest for size in sizes)
    assert max(sizes) > 1.5 * min(sizes)
    assert len({recipe.of_member(number, 0.01).seed for number in range(5)}) == 5
    with pytest.raises(ValueError, match=r"expected 2 trainers out of 0 to 1, found \[0, 2\]"):
        first_members("mlp", 2, recipe, trainers=[0, 2])


def test_a_screened_population_begins_with_the_best_of_the_thetas_that_were_drawn(recipe):
    each = population(recipe)
    plain = [member.vector for member in each.members]
    drawn = random_thetas("mlp", 9, UNROLL.seed, 2.0)
    assert all(torch.equal(a, b.vector()) for a, b in zip(plain, drawn, strict=False))  # the first of them
    each.screen(drawn)
    scores = [row["weighted"] for row in each.exam.scores(drawn)]
    best = sorted(range(9), key=scores.__getitem__)[:3]
    assert [score for score in scores if score < scores[best[2]]] != []
    for member, number in zip(each.members, best, strict=True):
        assert torch.equal(member.vector, drawn[number].vector())
        assert torch.equal(member.snapshot, each.members[member.trainer].vector)
    assert sorted(member.trainer for member in each.members) == [0, 1, 2]
    assert each.judge() == [scores[number] for number in best]


def test_fewer_candidates_than_members_and_a_population_that_has_begun_are_not_screened(recipe):
    each = population(recipe)
    with pytest.raises(ValueError, match="at least 3 candidates before the first step, found 2 after 0"):
        each.screen(random_thetas("mlp", 2, 0, 2.0))
    each.step()
    with pytest.raises(ValueError, match="before the first step, found 3 after 1"):
        each.screen(random_thetas("mlp", 3, 0, 2.0))


@pytest.mark.parametrize("worst", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_the_worst(worst):
    assert ranked([3.0, worst, -1.0, 2.0]) == [2, 3, 0, 1]
    assert doctest.testmod(selection) == (0, 1)


def plain_members(count, lost=()):
    return [
        Member(torch.full((4,), float(n)), (n + 1) % count, torch.full((4,), -1.0), 0.01 * (n + 1), is_lost=n in lost)
        for n in range(count)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_the_worst_copy_the_best_and_the_best_train_all(seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randperm(6, generator=generator).double().tolist()
    rules = SelectionRules(best=2, exploited=3, noise=0.1, sigma_factor=3.0, new_trainer=0.5)
    members = plain_members(6)
    after, parents, mutations = exploit(members, scores, rules, generator)
    best, worst = {scores.index(k) for k in (0.0, 1.0)}, {scores.index(k) for k in (3.0, 4.0, 5.0)}
    assert {number for number, parent in enumerate(parents) if parent != number} == worst
    for number, member in enumerate(after):
        parent = members[parents[number]]
        assert member.trainer in best
        assert torch.equal(member.snapshot, members[member.trainer].vector)
        assert member.state is None
        if number in worst:
            assert parents[number] in best
            assert member.generation == 1
            assert 0 < (member.vector - parent.vector).abs().max() < 0.5
            assert member.sigma == pytest.approx(parent.sigma * mutations[number]["sigma"])
            assert 1 / 3 <= mutations[number]["sigma"] <= 3
            if not mutations[number]["trainer"] and parent.trainer in best:
                assert member.trainer == parent.trainer
        else:
            assert mutations[number] is None
            assert torch.equal(member.vector, parent.vector)
            assert (member.sigma, member.generation) == (parent.sigma, 0)
            if members[number].trainer in best:
                assert member.trainer == members[number].trainer


def test_snapshots_of_own_trainers_are_renewed_and_those_of_none_stay():
    members, scores = plain_members(4), [0.0, 1.0, 2.0, 3.0]
    own, *_ = exploit(members, scores, SelectionRules(1, 0, "own"), torch.Generator())
    assert [member.trainer for member in own] == [1, 2, 3, 0]
    assert all(torch.equal(member.snapshot, members[member.trainer].vector) for member in own)
    stay, parents, mutations = exploit(members, scores, SelectionRules(1, 0, "none"), torch.Generator())
    assert stay == members
    assert (parents, mutations) == ([0, 1, 2, 3], [None] * 4)


def test_a_lost_member_is_neither_copied_nor_a_trainer_where_there_is_another():
    members = plain_members(4, lost={1, 3})
    rules = SelectionRules(best=2, exploited=2, new_trainer=1.0)
    after, parents, _ = exploit(members, [math.nan, math.nan, 0.5, math.nan], rules, torch.Generator())
    assert all(not members[parent].is_lost for parent in (parents[1], parents[3]))
    assert not any(member.is_lost for member in after)
    assert all(not members[member.trainer].is_lost for member in after)


def test_a_member_that_a_step_would_make_infinite_waits_scores_nothing_and_is_replaced(recipe):
    each = trained(population(recipe), 1)
    wild = torch.full_like(each.members[1].snapshot, 1e15)
    each.members[1] = replace(each.members[1], snapshot=wild, state=None)
    before = each.members[1].vector
    losses = each.step()
    assert each.members[1].is_lost
    assert torch.equal(each.members[1].vector, before)
    assert all(map(math.isfinite, losses))
    assert each.step()[1] == UNROLL.cap
    each.judge()
    record = each.lineage[-1]["members"][1]
    assert (record["score"], record["generation"]) == (None, 1)
    assert record["parent"] != 1
    assert not each.members[1].is_lost


def test_a_copy_begins_new_inner_trainings_with_tasks_that_its_place_has_not_seen(recipe):
    whole = OuterRecipe(UNROLL, recipe.scales, Lengths(1, 1, 1), 1, 0.1)
    each = population(whole)
    each.step()
    member = each.members[0]
    (_, stream), *_ = member.streams
    after, _ = MemberStep(whole, each.like, 0, member.without_streams(), 1)()
    assert after.streams[0][1]["episode"] == stream["episode"] + 1
    assert after.streams[0][1]["lanes"]["step"] == 1


def test_a_restored_population_ends_in_the_same_bits_and_the_best_never_gets_worse(recipe):
    whole = trained(population(recipe), 5)
    first = trained(population(recipe), 3)
    file = io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    second = population(recipe)
    second.restore(torch.load(file, weights_only=True))
    trained(second, 5)
    assert second.lineage == whole.lineage
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(second.members, whole.members, strict=True))
    lowest = min(member["score"] for judged in whole.lineage for member in judged["members"])
    assert whole.exam.scores([whole.best_theta])[0]["weighted"] == lowest


def test_the_order_in_which_members_are_computed_does_not_matter(recipe):
    def backwards(function, works):
        works = list(works)
        return [function(work) for work in reversed(works)][::-1]

    one, other = trained(population(recipe), 3), trained(population(recipe), 3, backwards)
    assert one.lineage == other.lineage
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(one.members, other.members, strict=True))


@pytest.mark.parametrize(
    ("members", "rules", "message"),
    [
        (1, RULES, "a population of at least 2 members, found 1"),
        (3, replace(RULES, exploited=3), "together at most 3, found 1 and 3"),
        (3, replace(RULES, best=0), "at least 1 best"),
    ],
)
def test_rules_that_do_not_fit_the_population_are_refused(recipe, members, rules, message):
    with pytest.raises(ValueError, match=message):
        population(recipe, rules=rules, members=members)


def test_a_population_without_a_finite_score_has_no_best(recipe):
    with pytest.raises(ValueError, match="expected a judgement with a finite score, found none"):
        _ = population(recipe).best_theta
