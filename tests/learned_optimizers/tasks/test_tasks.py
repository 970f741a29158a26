"""Tasks: pure functions of seed and index, disjoint splits, right gradients, and one call for many."""

import json
from dataclasses import asdict

import pytest
import torch
from torch.func import grad, vmap

from learned_optimizers.meta_training.baselines import BASELINES, RATE
from learned_optimizers.meta_training.unroll import Draw, curves, unroll
from learned_optimizers.tasks import (
    ANALYSED,
    HELD_OUT,
    OF_ANY_SCALE,
    SPLITS,
    TASK_FAMILIES,
    TRAINED_ON,
    Bucket,
    buckets,
    sample_task,
    variants,
)
from learned_optimizers.tasks.surfaces import SURFACES
from learned_optimizers.tasks.task import seeded_generator

BUCKETS = buckets(tuple(TASK_FAMILIES))


def batch_of(task, split="train", seed=0):
    return tuple(x[0] for x in task.samples(split, 1, task.batch_size, seeded_generator(seed, "batch")))


@pytest.mark.parametrize("bucket", BUCKETS, ids=str)
def test_a_task_is_a_function_of_seed_and_index(bucket):
    task = bucket.task(3, 2)
    sample_task.cache_clear()
    again, other = bucket.task(3, 2), bucket.task(3, 3)
    assert again is not task
    assert again.configuration == task.configuration != other.configuration
    assert json.loads(json.dumps(asdict(task.configuration)))["index"] == bucket.variant + 2 * variants(bucket.family)
    for a, b in zip((*task.data, *task.constants), (*again.data, *again.constants), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(batch_of(task), batch_of(again), strict=True):
        assert torch.equal(a, b)
    contents = [[*each.data, *each.constants, *map(torch.tensor, [each.configuration.index])] for each in (task, other)]
    assert not all(torch.equal(a, b) for a, b in zip(*contents, strict=True))
    assert other.bucket == task.bucket


@pytest.mark.parametrize("bucket", [bucket for bucket in BUCKETS if bucket.task(0, 0).data], ids=str)
def test_no_sample_is_in_two_splits_and_all_are_in_one(bucket):
    task = bucket.task(1, 1)
    rows = [task.part(split)[0].flatten(1) for split in SPLITS]
    assert sum(map(len, rows)) == len(task.data[0])
    assert all(len(part) >= 9 for part in rows)
    together = torch.cat([part.unique(dim=0) for part in rows])
    assert len(together.unique(dim=0)) == len(together)


@pytest.mark.parametrize("bucket", BUCKETS, ids=str)
def test_losses_start_finite_and_their_gradients_are_those_of_differences(bucket):
    task = bucket.task(0, 1)
    params = [p.double() for p in task.initial(torch.Generator().manual_seed(0))]
    # biases start at 0, where the ReLU of a blank patch has its kink
    params = [p + 0.01 * torch.randn(p.shape, generator=seeded_generator(0), dtype=p.dtype) for p in params]
    constants = tuple(c.double() for c in task.constants)
    samples = tuple(s.double() if s.is_floating_point() else s for s in batch_of(task))
    gradient = grad(task.loss)(params, constants, samples)
    along = [torch.randn(p.shape, generator=torch.Generator().manual_seed(1), dtype=p.dtype) for p in params]
    # in proportion to parameters, which have other units in other tasks
    along = [d * p.std(correction=0) for d, p in zip(along, params, strict=True)]
    step = 1e-6
    sides = [
        task.loss([p + s * step * d for p, d in zip(params, along, strict=True)], constants, samples) for s in (1, -1)
    ]
    expected = sum((g * d).sum() for g, d in zip(gradient, along, strict=True))
    assert torch.isfinite(sides[0])
    torch.testing.assert_close((sides[0] - sides[1]) / (2 * step), expected, rtol=1e-4, atol=1e-6)
    # every parameter counts in some batch: a network that is wired wrongly has one that does not
    assert all(g.abs().sum() > 0 for g in gradient)


@pytest.mark.parametrize("bucket", BUCKETS, ids=str)
def test_many_tasks_in_one_call_are_each_task_alone(bucket):
    tasks = [bucket.task(0, index) for index in range(3)]
    params = [task.initial(torch.Generator().manual_seed(index)) for index, task in enumerate(tasks)]
    samples = [batch_of(task) for task in tasks]
    stacked = [
        tuple(map(torch.stack, zip(*parts, strict=True))) for parts in (params, [t.constants for t in tasks], samples)
    ]
    together = vmap(tasks[0].loss)(*stacked)
    alone = [task.loss(p, task.constants, s) for task, p, s in zip(tasks, params, samples, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-6)


def test_held_out_families_are_apart_and_every_family_is_named_once():
    parts = [set(names) for names in (TRAINED_ON, HELD_OUT, OF_ANY_SCALE, ANALYSED)]
    assert set.union(*parts) == set(TASK_FAMILIES)
    assert sum(map(len, parts)) == len(TASK_FAMILIES)
    assert len(set(BUCKETS)) == len(BUCKETS)


@pytest.mark.parametrize("name", SURFACES)
def test_a_published_surface_has_its_minimum_of_0_where_it_is_published(name):
    surface = SURFACES[name]
    point = torch.tensor(surface.minimum, dtype=torch.float64, requires_grad=True)
    value = surface.value(*point)
    value.backward()
    assert value.item() == 0
    assert point.grad.abs().max() == 0
    assert surface.value(*(point.detach() + 0.1)) > 0


def test_the_hessian_of_a_quadratic_has_the_spectrum_of_its_configuration():
    task = Bucket("quadratics", 1).task(0, 0)
    found = torch.linalg.eigvalsh(task.constants[0].double())
    expected = torch.tensor(sorted(task.configuration.eigenvalues), dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
    assert expected.min() >= 1e-3
    assert expected.max() <= 1


@pytest.mark.parametrize("family", [name for name in OF_ANY_SCALE if name.startswith("rescaled_")])
def test_a_rescaled_task_is_the_task_itself_in_other_units(family):
    task = Bucket(family, 0).task(0, 1)
    plain, configuration = Bucket(task.configuration.of, 0).task(0, 1), task.configuration
    params, start = (each.initial(torch.Generator().manual_seed(0)) for each in (task, plain))
    for one, other in zip(params, start, strict=True):
        factor = configuration.weights if one.dim() > 1 else 1.0
        torch.testing.assert_close(factor * one, other)
    inputs, *labels = (part[:20] for part in task.data)
    torch.testing.assert_close(inputs, configuration.inputs * plain.data[0][:20])
    expected = configuration.loss * plain.loss(start, plain.constants, (inputs, *labels))
    torch.testing.assert_close(task.loss(params, task.constants, (inputs, *labels)), expected)


def test_rescaled_tasks_span_orders_of_magnitude():
    drawn = [Bucket("rescaled_mlp_clusters", 0).task(0, index).configuration for index in range(40)]
    for name, span in (("inputs", 1.5), ("loss", 3), ("weights", 4.5)):
        values = [getattr(configuration, name) for configuration in drawn]
        assert max(values) / min(values) > 10**span


def test_the_convolution_is_torch_s():
    task = Bucket("conv_digits", 0).task(0, 0)
    params, (inputs, labels) = task.initial(torch.Generator().manual_seed(0)), batch_of(task)
    hidden = inputs.view(-1, 1, 8, 8)
    for weight, bias in ((params[0], params[1]), (params[2], params[3])):
        kernel = weight.unflatten(0, (3, 3, -1)).permute(3, 2, 0, 1)
        hidden = torch.relu(torch.nn.functional.conv2d(hidden, kernel, bias, stride=2, padding=1))
    logits = hidden.permute(0, 2, 3, 1).flatten(1) @ params[-2] + params[-1]
    torch.testing.assert_close(
        task.loss(params, (), (inputs, labels)), torch.nn.functional.cross_entropy(logits, labels)
    )


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
        ("adam", lambda p: torch.optim.Adam(p, lr=0.05)),
        ("rmsprop", lambda p: torch.optim.RMSprop(p, lr=0.05)),
    ],
)
def test_a_baseline_follows_torch_s_optimizer(name, make):
    task = Bucket("mlp_clusters", 1).task(0, 0)
    draw = Draw([task], [(0, "test")], copies=2)
    theta = {RATE: torch.tensor([0.05, 0.01])}
    start = draw.start(BASELINES[name], theta)
    _, end = unroll(BASELINES[name], theta, task, start, draw.batches(0, 12))
    params = [p[0].clone().requires_grad_() for p in start.params]
    optimizer = make(params)
    inputs = draw.batches(0, 12).train
    for index in range(12):
        optimizer.zero_grad()
        task.loss(params, (), tuple(x[index, 0] for x in inputs)).backward()
        optimizer.step()
    for found, expected in zip(end.params, params, strict=True):
        torch.testing.assert_close(found[0], expected.detach(), rtol=1e-3, atol=1e-5)


def test_a_lane_is_what_it_is_alone():
    tasks = [Bucket("copy", 1).task(0, index) for index in range(3)]
    rates = {RATE: torch.full((3,), 0.03)}
    together = curves(BASELINES["adam"], rates, Draw.of_trainings(tasks, seed=0, split="test"), 8)
    alone = curves(BASELINES["adam"], {RATE: rates[RATE][:1]}, Draw.of_trainings(tasks[1:2], seed=0, split="test"), 8)
    torch.testing.assert_close(together[:, 1:2], alone, rtol=1e-4, atol=1e-5)


def test_a_family_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"expected a family of tasks out of mlp_digits, .*found 'imagenet'"):
        sample_task("imagenet", 0, 0)
    with pytest.raises(ValueError, match="from 0 up, found 0 and -1"):
        sample_task("copy", 0, -1)
