"""Several processes: they take the steps of one with the whole batch, and find in images what one finds."""

import copy
import os
import subprocess
import sys
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import nn
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.nn import functional as F

from e2rnas.cli.app import compose_experiment
from pipeline.compute.processes import of_all_processes, sum_over_processes
from pipeline.data import Images, load
from pipeline.runs.files import read_json
from pipeline.search.bilevel_search import BilevelSearch
from pipeline.training.network_trainer import Retraining
from search_space import PUBLISHED, SearchSpace, Supernet
from search_space.kernels.statistics import own_statistics, synchronise_statistics
from tests.support.scripts import IN_ANY_SPACE, ROOT, run_script
from tests.support.two_processes import ONE, in_two_processes, without_launch_variables

SHARED = ("fabric.devices=2", "fabric.synchronised_statistics=true")


PLAIN = ("data.crop_padding=0", "attack.name=fgsm")  # augmentation and random starts are drawn by each for itself


CARRIED = ("data.crop_padding=0", "attack=carry_over", "attack.steps=2", "attack.step=0.04")  # starts kept by image


SMALL = (
    "space.nodes=2",
    "search.batch_size=12",
    "objectives.names=[accuracy,robustness,parameters]",
    "objectives.macs=[null,null]",
)


NASBENCH201 = ("space=nasbench201", "space.nodes=3", "search.channels=4", "objectives.parameters=[null,5e3]")


RETRAINED = ("data.crop_padding=0", "retrain.drop_path=0", "retrain.batch_size=12")


def in_double(batch):
    return replace(batch, images=batch.images.double())


def search_steps(fabric, overrides, steps):
    """Alphas, weights and figures after whole steps in float64."""
    experiment = compose_experiment([*IN_ANY_SPACE, *SMALL, *overrides])
    bilevel = BilevelSearch(experiment, load(experiment.data), fabric)
    bilevel.supernet.double()
    rows = []
    for train, valid in islice(bilevel.batches(), steps):
        row = bilevel.step(in_double(train), in_double(valid))
        rows.append([*row["objectives"].values(), row["training_loss"], *row["balance"]["weights"].values()])
    assert len(rows) == steps
    return {
        "alphas": bilevel.alphas.detach(),
        "weights": torch.cat([weight.detach().flatten() for weight in bilevel.weight_step.weights]),
        "figures": torch.tensor(rows, dtype=torch.float64),
    }


def largest_difference(found, expected):
    return max((of_process[name] - expected[name]).abs().max().item() for of_process in found for name in expected)


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        (CARRIED, 2),
        pytest.param((*PLAIN, "search.order=unrolled"), 1, marks=pytest.mark.slow),
        pytest.param((*PLAIN, "search.order=unrolled", "search.hessian=finite_difference"), 1, marks=pytest.mark.slow),
        pytest.param((*PLAIN, "search.order=cg", "search.implicit.iterations=2"), 2, marks=pytest.mark.slow),
        pytest.param((*PLAIN, "search.order=neumann", "search.implicit.iterations=2"), 2, marks=pytest.mark.slow),
        pytest.param((*PLAIN, "search.recompute=true"), 2, marks=pytest.mark.slow),
        pytest.param((*PLAIN, "relaxation=pc_darts", "search.channels=4"), 2, marks=pytest.mark.slow),
        pytest.param((*PLAIN, "relaxation=gdas", "search.adversarial_fraction=0.5"), 2, marks=pytest.mark.slow),
        pytest.param((*PLAIN, *NASBENCH201), 1, marks=pytest.mark.slow),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_two_processes_with_half_the_batch_each_take_the_search_steps_of_one(tmp_path, monkeypatch, overrides, steps):
    expected = search_steps(ONE, overrides, steps)
    found = in_two_processes(monkeypatch, tmp_path, search_steps, [*overrides, *SHARED], steps)
    assert largest_difference(found, expected) < 1e-9


def test_without_the_option_each_process_takes_the_statistics_of_its_share(tmp_path, monkeypatch):
    expected = search_steps(ONE, PLAIN, 1)
    found = in_two_processes(monkeypatch, tmp_path, search_steps, [*PLAIN, "fabric.devices=2"], 1)
    assert largest_difference(found, expected) > 1e-3
    assert largest_difference(found[:1], found[1]) == 0  # and yet all take the same direction


def retraining_steps(fabric, overrides):
    """Weights, running statistics and figures after two steps in float64, and what is judged then."""
    experiment = compose_experiment([*IN_ANY_SPACE, *RETRAINED, *overrides])
    training = Retraining(experiment, load(experiment.data), fabric, PUBLISHED["PDARTS"].genotype)
    training.network.double()
    training.training_step.kept_network.double()
    free = training.training_step.free
    if free:
        free.value = free.value.detach().double().requires_grad_()
    training.start_epoch()
    figures = [training.step(images.double(), labels) for images, labels in islice(training.batches(), 2)]
    judged = training.judge.judge(0)
    return {
        "figures": torch.tensor([list(row.values()) for row in figures], dtype=torch.float64),
        "network": torch.cat([value.double().flatten() for value in training.network.state_dict().values()]),
        "kept": torch.cat(
            [value.double().flatten() for value in training.training_step.kept_network.state_dict().values()]
        ),
        "judged": torch.tensor([judged.clean, judged.accuracy], dtype=torch.float64),
    }


@pytest.mark.parametrize(
    "overrides",
    [
        ("recipe=pgd_at", "retrain.attack.name=fgsm", "retrain.average_decay=0.9"),
        pytest.param(("recipe=mart", "retrain.attack.name=fgsm", "retrain.awp_gamma=0.01"), marks=pytest.mark.slow),
        pytest.param(
            ("recipe=pgd_at", "retrain.attack.name=fgsm", "retrain.attack.statistics=batch"), marks=pytest.mark.slow
        ),
        pytest.param(("recipe=free", "retrain.replays=2"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_two_processes_with_half_the_batch_each_take_the_retraining_steps_of_one(tmp_path, monkeypatch, overrides):
    expected = retraining_steps(ONE, overrides)
    found = in_two_processes(monkeypatch, tmp_path, retraining_steps, [*overrides, *SHARED])
    assert largest_difference(found, expected) < 1e-9


def test_synchronised_functions_are_those_of_one_process_where_there_is_one():
    torch.manual_seed(0)
    supernet = Supernet(SearchSpace(nodes=2), channels=2, layers=3, num_classes=3, in_channels=1).double()
    supernet.to(memory_format=torch.channels_last)
    images = torch.rand(6, 1, 8, 8, dtype=torch.float64, requires_grad=True)

    def gradients():
        loss = F.cross_entropy(supernet(images), torch.arange(6) % 3)
        return [loss, *grad(loss, [images, *supernet.parameters()])]

    plain = gradients()
    synchronise_statistics(supernet)
    for found, expected in zip(gradients(), plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    with own_statistics(supernet):
        assert all(torch.equal(found, expected) for found, expected in zip(gradients(), plain, strict=True))
    assert not all(torch.equal(found, expected) for found, expected in zip(gradients(), plain, strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_a_synchronised_batch_norm_is_that_of_torch(training):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.BatchNorm2d(3)).double().train(training)
    plain[0].weight.data.uniform_(0.5, 2)
    plain[0].bias.data.normal_()
    ours = copy.deepcopy(plain)
    weight = ours[0].weight
    synchronise_statistics(ours)
    assert ours[0].weight is weight
    for _ in range(2):
        images = torch.randn(3, 3, 2, 3, dtype=torch.float64, requires_grad=True)
        torch.testing.assert_close(ours(images), plain(images), rtol=1e-12, atol=1e-12)
        if training:
            assert gradcheck(copy.deepcopy(ours), images)  # copies: every pass moves the running statistics
            assert gradgradcheck(copy.deepcopy(ours), images, atol=1e-4)
    assert ours.state_dict().keys() == plain.state_dict().keys()
    for found, expected in zip(ours.state_dict().values(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def merged(fabric, whole):
    """Batch norm and its slopes where the first process has 2 images of `whole`, and the second the others."""
    norm = nn.Sequential(nn.BatchNorm2d(3)).double()
    synchronise_statistics(norm)
    share = whole.split([2, len(whole) - 2])[fabric.global_rank].requires_grad_()
    normalised = norm(share)
    (slope,) = grad(normalised.pow(3).sum(), share, create_graph=True)
    (curvature,) = grad(slope.pow(2).sum(), share)
    return {"y": normalised.detach(), "slope": slope.detach(), "curvature": curvature, **norm.state_dict()}


def test_shares_of_different_sizes_are_merged_by_their_number_of_pixels(tmp_path, monkeypatch):
    whole = torch.randn(5, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = in_two_processes(monkeypatch, tmp_path, merged, whole)
    norm, images = nn.BatchNorm2d(3).double(), whole.clone().requires_grad_()
    expected = norm(images)
    (slope,) = grad(expected.pow(3).sum(), images, create_graph=True)
    (curvature,) = grad(slope.pow(2).sum(), images)
    for name, value in {"y": expected, "slope": slope, "curvature": curvature}.items():
        torch.testing.assert_close(torch.cat([first[name], second[name]]), value, rtol=1e-10, atol=1e-12)
    for name, value in norm.state_dict().items():
        torch.testing.assert_close(first[f"0.{name}"], value, rtol=1e-12, atol=1e-12)


def test_batch_norm_without_running_statistics_is_refused():
    with pytest.raises(ValueError, match="expected batch norm with affine, running statistics and a momentum"):
        synchronise_statistics(nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)))


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 7, 12])
def test_shares_are_whole_batches_that_hold_every_image_once(processes, count):
    images = Images(torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1), torch.arange(count))
    expected = {number: labels.tolist() for number, (_, labels) in enumerate(images.batches(3))}
    found = {}
    for rank in range(processes):
        share = list(images.shared_batches(3, (rank, processes)))
        assert all(torch.equal((inputs.flatten() * 255).round().long(), labels) for _, inputs, labels in share)
        found |= {number: labels.tolist() for number, _, labels in share}
        assert [number for number, _, _ in share] == list(range(rank, len(expected), processes))
    assert found == expected


def test_counts_are_summed_exactly_and_tensors_joined_in_the_order_of_processes(tmp_path, monkeypatch):
    def work(fabric):
        own = torch.tensor([2**60, 2**53 + 1 + fabric.global_rank])
        joined = of_all_processes(fabric, [torch.full((2, 1), float(fabric.global_rank))])
        return {"sum": sum_over_processes(fabric, own), "joined": joined[0]}

    for found in in_two_processes(monkeypatch, tmp_path, work):
        assert found["sum"].tolist() == [2**61, 2**54 + 3]
        assert found["joined"].flatten().tolist() == [0, 0, 1, 1]


TOGETHER = """
import torch
from pipeline.compute.fabric import make_fabric
from pipeline.compute.processes import sum_over_processes
from pipeline.compute.ranks import launch
from pipeline.settings import FabricSettings

fabric = make_fabric(FabricSettings(accelerator="cpu", devices=2))
launch(fabric)
found = sum_over_processes(fabric, torch.tensor([1, fabric.global_rank]))
if fabric.is_global_zero:
    print(found.tolist())
"""


def test_the_first_process_of_a_run_starts_the_second_by_its_own_command(tmp_path):
    (tmp_path / "together.py").write_text(TOGETHER)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(tmp_path / "together.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (0, "[2, 1]\n"), done.stderr


@pytest.mark.slow
def test_the_scripts_know_the_option_and_do_not_mix_runs_with_and_without_it(tmp_path):
    for script in ("search", "retrain"):
        command = (script, *IN_ANY_SPACE, f"run={tmp_path}", f"{script}.epochs=1")
        status, _, err = run_script(*command, *SHARED)
        assert (status, "deprecated" in err) == (0, False), err
        status, _, err = run_script(*command)
        assert status == 2
        assert "processes was 2, is 1; synchronised_statistics was True, is None" in err
    assert read_json(tmp_path / "network.json")["training"]["settings"]["synchronised_statistics"] is True


@pytest.mark.slow
def test_the_benchmark_measures_all_ways_and_its_parts_add_up(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import processes as benchmark
    from synthetic import Size

    tiny = {"tiny": Size(channels=2, layers=3, batch=4, image_size=8, steps=1)}
    monkeypatch.setattr(benchmark, "SIZES", tiny)
    monkeypatch.setattr(sys, "argv", ["processes.py", "--sizes", "tiny", "--rounds", "1", "--results", str(tmp_path)])
    without_launch_variables(monkeypatch)
    benchmark.main()
    text = (tmp_path / "processes.md").read_text()
    exchanges = [line.split(" | ")[3] for line in text.splitlines() if line.startswith("| search step | tiny | two")]
    assert exchanges[2] == "3"  # both objectives, then the weights
    assert int(exchanges[3].replace(",", "")) > 100
    found = benchmark.Measured(4, {way: [seconds] for seconds, way in enumerate(benchmark.WAYS, 1)})
    assert 0.5 + sum(found.parts().values()) == found.median(benchmark.SYNCHRONISED)
