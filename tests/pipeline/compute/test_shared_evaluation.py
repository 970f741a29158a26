"""An evaluation that processes share finds what one process finds."""

import io
import shutil
from contextlib import nullcontext, redirect_stdout
from types import SimpleNamespace

import pytest
import torch

from e2rnas.cli.app import compose_experiment
from e2rnas.cli.stages import evaluate as program
from e2rnas.stages import StageContext
from pipeline.data import load
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.measuring.measure import EvaluationCase, measure
from pipeline.evaluation.stored_evaluation import SECTIONS
from pipeline.networks.network_files import load_network
from pipeline.runs.files import read_json
from pipeline.runs.progress import progress_bar
from pipeline.training.retrain import retrain
from search_space import Genotype
from tests.support.scripts import TINY, TINY_EVALUATION, run_script
from tests.support.two_processes import ONE, in_two_processes

NOISY = {
    "normal": [["sep_conv_3x3", 0], ["noise", 1]] + [["skip_connect", 0], ["noise", 1]] * 3,
    "normal_concat": [2, 3, 4, 5],
    "reduce": [["max_pool_3x3", 0], ["sep_conv_3x3", 1]] * 4,
    "reduce_concat": [2, 3, 4, 5],
}


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """A run folder with a network that draws noise in every pass."""
    folder = tmp_path_factory.mktemp("noisy") / "run"
    experiment = compose_experiment([*TINY, "recipe=standard", "retrain.epochs=1", "retrain.auxiliary_weight=0"])
    retrain(folder, experiment, load(experiment.data), ONE, name="noisy", genotype=Genotype.from_darts(NOISY))
    return folder


def evaluated(fabric, folder, overrides):
    experiment = compose_experiment([*TINY, *overrides])
    evaluate(folder, experiment, load(experiment.data), fabric, load_network(folder))
    return {}


def without_seconds(folder):
    (content,) = read_json(folder / "robustness.json")["protocols"]
    for section in SECTIONS:
        for row in content[section]:
            assert row.pop("seconds") >= 0
    return content


FEW_BATCHES = ("evaluate.batch_size=15", "evaluate.corruptions=[gaussian_noise]")  # three, the last one short


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ("evaluate.attacks=[pgd-20]", "evaluate.sweep=[0.05]"),
        pytest.param(("evaluate.attacks=[fgsm,apgd-ce]", "evaluate.checks=true"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_an_evaluation_finds_the_same_in_two_processes_as_in_one(noisy, tmp_path, monkeypatch, overrides):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        shutil.copytree(noisy, folder)
    evaluated(ONE, one, [*FEW_BATCHES, *overrides])
    in_two_processes(monkeypatch, tmp_path, evaluated, two, [*FEW_BATCHES, *overrides])
    assert without_seconds(two) == without_seconds(one)
    assert (two / "examples.safetensors").read_bytes() == (one / "examples.safetensors").read_bytes()
    rows = without_seconds(two)["attacks"] + without_seconds(two)["corruptions"]
    assert {row["images"] for row in rows} == {40}
    assert sum(row["right"] for row in rows) > 0


def test_what_is_drawn_for_a_batch_does_not_follow_from_the_batches_before(noisy):
    """A case on the second batch alone is its part of a case on both."""
    network, data = load_network(noisy).network.eval(), load(compose_experiment(TINY).data)
    seen = []

    def change(images, labels):
        seen.append(torch.rand(3, generator=generator).tolist() + torch.rand(3).tolist())
        return images

    generator = torch.Generator()
    case = EvaluationCase("drawn", {}, change, is_attack=False, generator=generator)
    for rank, world_size in ((0, 1), (1, 2)):
        fabric = SimpleNamespace(global_rank=rank, world_size=world_size, autocast=nullcontext)
        with progress_bar("", 3, show=False) as bar, pytest.MonkeyPatch.context() as patch:
            patch.setattr("pipeline.evaluation.measuring.measure.sum_over_processes", lambda fabric, counts: counts)
            measure(network, data.test, case, num_classes=10, batch_size=15, seed=0, fabric=fabric, bar=bar)
    assert len(seen) == 4
    assert seen[3] == seen[1]
    assert all(first != second for first, second in zip(seen[0], seen[1], strict=True))


def printed(fabric, folder, overrides):
    """What a process prints of the program's evaluation."""
    experiment = compose_experiment([*TINY_EVALUATION, f"run={folder}", *overrides])
    context = StageContext(folder, experiment, load(experiment.data), fabric)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as out:
        patch.setattr(program, "prepared", lambda _: context)
        program.main(experiment)
    return {"table": [line.split(" images")[0] for line in out.getvalue().splitlines() if "%  [" in line]}


def test_two_processes_that_share_an_evaluation_find_what_one_finds_and_the_first_prints_it(
    noisy, tmp_path, monkeypatch
):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        shutil.copytree(noisy, folder)
    attacks = (
        *FEW_BATCHES,
        "evaluate.attacks=[fgsm]",
        "evaluate.sweep=[0.05]",
        "evaluate.sweep_attack=fgsm",
        "evaluate.draws=2",
    )
    (table,) = printed(ONE, one, attacks).values()
    assert len(table) == 8  # clean, fgsm, a radius, five severities
    first, second = in_two_processes(monkeypatch, tmp_path, printed, two, attacks)
    assert (first["table"], second["table"]) == (table, [])
    assert without_seconds(two) == without_seconds(one)
    assert (two / "examples.safetensors").read_bytes() == (one / "examples.safetensors").read_bytes()
    rows = without_seconds(two)["attacks"] + without_seconds(two)["corruptions"]
    assert {row["images"] for row in rows} == {40}
    assert sum(row["right"] for row in rows) > 0


@pytest.mark.slow
def test_the_script_shares_an_evaluation_and_one_process_prints(noisy, tmp_path, call_script):
    tables, contents = [], []
    for devices, run in ((2, run_script), (1, call_script)):
        folder = tmp_path / str(devices)
        shutil.copytree(noisy, folder)
        attacks = ("evaluate.attacks=[fgsm]", "evaluate.batch_size=15", f"fabric.devices={devices}")
        status, out, err = run("evaluate", *TINY_EVALUATION, f"run={folder}", *attacks)
        assert (status, "deprecated" in err) == (0, False), err
        tables.append([line.split(" images")[0] for line in out.splitlines() if "%  [" in line])
        contents.append(without_seconds(folder))
    assert tables[0] == tables[1]
    assert len(tables[0]) == 2  # clean, fgsm
    assert contents[0] == contents[1]
