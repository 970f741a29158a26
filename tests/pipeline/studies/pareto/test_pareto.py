"""A walk along the Pareto front: what is on it, where it goes, and that it ends the same when it was stopped."""

import base64
import itertools
import json
import math
import re
import shutil

import numpy as np
import pytest
import torch

from e2rnas.cli.app import Refused, compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.errors import RunError
from pipeline.report import run_report
from pipeline.report.run_reader import read_run
from pipeline.runs.checkpoints import Checkpoints
from pipeline.runs.metrics import read_metrics
from pipeline.search.search import search
from pipeline.search.selection.continued_search import Walk
from pipeline.studies.pareto.front import read_front
from pipeline.studies.pareto.pareto import pareto
from pipeline.studies.pareto.points import plan
from search_space import CostTable, Genotype, NetworkShape, network_cost
from tests.support.forks import killed_until_done
from tests.support.optimization.quick_attacks import quicken
from tests.support.scripts import IN_ANY_SPACE, operations_of

WALK = (
    *IN_ANY_SPACE,
    "space.nodes=4",  # as PDARTS has
    operations_of("PDARTS"),
    "pareto.points=2",
    "pareto.epochs=1",
    "pareto.adapt_epochs=1",
    "pareto.attack.steps=2",
    "pareto.published=[PDARTS]",
    "objectives.macs=[null,null]",
    "objectives=robust",
    "objectives.parameters=[null,null]",
    "search.epochs=1",
    "search.diagnostics.iterations=0",
)


NAMES = ("000", "001", "PDARTS")


@pytest.fixture(scope="module")
def data():
    return load(compose_experiment(WALK).data)


@pytest.mark.parametrize(("size", "quantity"), [("parameters", "parameters"), ("macs", "conv_linear_macs")])
def test_budgets_share_out_all_that_can_be_reached(data, size, quantity):
    experiment = compose_experiment([*WALK, f"pareto.walk={size}", "pareto.points=5", "pareto.published=[]"])
    bounds = [point.asked[size] for point in plan(experiment, data)]
    shape = NetworkShape(channels=4, layers=3, num_classes=10, image_size=8, in_channels=1)
    low, high = CostTable(experiment.space.build(), shape).reachable(quantity)
    assert (bounds[0][0], bounds[-1][1]) == (low, high)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))
    widths = [upper - lower for lower, upper in bounds]
    assert max(widths) - min(widths) <= 1


def test_budgets_stay_inside_the_bounds_of_the_search_and_join_its_objectives(data):
    bounded = ["objectives=e2rnas", "objectives.parameters=[2500,4000]", "objectives.macs=[null,1.2e5]"]
    points = plan(compose_experiment([*WALK, *bounded]), data)
    assert [point.asked for point in points] == [{"parameters": [2500, 3250]}, {"parameters": [3250, 4000]}, {}]
    assert points[0].experiment.objectives.macs == (None, 1.2e5)
    assert points[2].experiment.objectives.parameters == (2500, 4000)
    free = plan(compose_experiment(WALK), data)
    assert free[0].experiment.objectives.names == ("accuracy", "robustness", "parameters")


def test_preferences_go_from_one_accuracy_to_the_other_in_equal_ratios(data):
    experiment = compose_experiment([*WALK, "pareto.walk=preferences", "pareto.points=5"])
    chosen = [point.experiment.objectives.preferences for point in plan(experiment, data)[:5]]
    ratios = [each.accuracy / each.robustness for each in chosen]
    assert ratios == pytest.approx([10, math.sqrt(10), 1, 1 / math.sqrt(10), 0.1])
    listed = compose_experiment([*WALK, "pareto.walk=preferences", "pareto.preferences=[[1,4],[3,1]]"])
    assert [p.experiment.objectives.preferred() for p in plan(listed, data)[:2]] == [{"robustness": 4}, {"accuracy": 3}]


REFUSALS = [
    (["pareto.bounds=[[1,2]]", "pareto.walk=preferences"], "pareto.bounds are of pareto.walk=parameters or macs"),
    (["pareto.preferences=[[1,2]]"], "pareto.preferences are of pareto.walk=preferences"),
    (["pareto.published=[DARTS_V9]"], "pareto.published: expected published cells, each once: DARTS_V1"),
    (["pareto.points=1"], "pareto.points: Input should be greater than or equal to 2"),
    (["pareto.bounds=[]"], "pareto.bounds"),
]


@pytest.mark.parametrize(("overrides", "message"), REFUSALS)
def test_a_wrong_walk_is_refused(overrides, message):
    with pytest.raises(Refused, match=re.escape(message)):
        compose_experiment(overrides)


WORK_REFUSALS = [
    (["pareto.bounds=[[3e3,4e3],[1,2]]"], "point 001 of the walk: no cell of this space meets"),
    (["pareto.bounds=[[5,3]]"], "point 000 of the walk: objectives.parameters: lower bound 5 is above upper bound 3"),
    (["pareto.walk=preferences", "pareto.preferences=[[1,2,3]]"], "expected numbers for accuracy, robustness, found"),
    (["pareto.walk=preferences", "objectives=accuracy"], "objectives.names needs both"),
    (["pareto.walk=preferences", "balance=cagrad"], "balance=cagrad knows no objectives.preferences"),
    (["pareto.published=[NASNet]"], "pareto.published=NASNet: the genotype is not one of the space"),
    (["pareto.held_back=0.7"], "images that pareto.held_back=0.7 leaves for the alphas"),
    (["pareto.retrain=true", "evaluate.attacks=[cw]"], "needs an Linf attack in evaluate.attacks"),
    (["pareto.retrain=true", "retrain.parameters=3000"], "gives all points one size"),
    (["pareto.retrain=true", "evaluate.images=41"], "more than the 40 test images"),
    (["pareto.retrain=true", "retrain.batch_size=100"], "retrain.batch_size=100 is larger"),
    (["fabric.devices=2"], "this script runs in one process"),
]


@pytest.mark.parametrize(("overrides", "message"), WORK_REFUSALS)
def test_a_walk_that_cannot_be_gone_is_refused_before_any_work(tmp_path, call_script, overrides, message):
    status, out, err = call_script("pareto", *WALK, f"run={tmp_path / 'run'}", *overrides)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def searched(tmp_path_factory, data):
    """A run folder after the search alone."""
    experiment = compose_experiment(WALK)
    folder = tmp_path_factory.mktemp("runs") / "searched"
    search(folder, experiment, data, make_fabric(experiment.fabric))
    return folder


@pytest.fixture(scope="module")
def run(searched, data):
    """A run folder after a walk."""
    experiment = compose_experiment(WALK)
    folder = searched.with_name("walked")
    shutil.copytree(searched, folder)
    pareto(folder, experiment, data, make_fabric(experiment.fabric))
    return folder


def test_every_point_has_a_cell_inside_what_was_asked_of_it(run):
    front = read_front(run / "pareto.json")
    assert [point.name for point in (*front.points, *front.published)] == list(NAMES)
    for point in front.points:
        folder = run / "points" / point.name
        genotype = Genotype.from_json((folder / "genotype.json").read_text())
        cost = network_cost(genotype, channels=4, layers=3, num_classes=10, image_size=8, in_channels=1)
        assert (point.parameters, point.macs) == (cost.parameters, cost.conv_linear_macs)
        lower, upper = point.asked["parameters"]
        assert lower <= cost.parameters <= upper
        assert [row["step"] for row in read_metrics(folder, "pareto")] == [0, 1]
    assert front.published[0].asked == {}
    assert front.points[0].robust.settings["eps"] == 0.1
    assert front.points[0].clean.images == 20  # half of the 40 images of the alphas
    largest = [read_run(run).pareto.reference[size] / 1.1 for size in ("parameters", "macs")]
    assert all(point.parameters <= largest[0] and point.macs <= largest[1] for point in front.points)


def without_seconds(value):
    if isinstance(value, dict):
        return {key: without_seconds(part) for key, part in value.items() if key != "seconds"}
    return [without_seconds(part) for part in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_a_walk_killed_at_every_renaming_ends_in_the_same_bits(searched, run):
    folder = searched.with_name("killed")
    shutil.copytree(searched, folder)
    assert killed_until_done("pareto", *WALK, f"run={folder}") >= 6
    for name in NAMES:
        for file in ("genotype.json", "alphas.safetensors", "metrics.jsonl", "normal.svg"):
            mine, whole = (each / "points" / name / file for each in (folder, run))
            assert mine.exists() == whole.exists() == (name != "PDARTS" or file in ("genotype.json", "normal.svg"))
            assert not whole.exists() or mine.read_bytes() == whole.read_bytes(), (name, file)
    mine, whole = (json.loads((each / "pareto.json").read_text()) for each in (folder, run))
    assert without_seconds(mine) == without_seconds(whole)
    assert not list(folder.glob("**/*.tmp"))


def test_a_finished_walk_is_not_gone_again_and_one_of_other_settings_is_refused(run, call_script):
    before = {path: path.stat().st_mtime_ns for path in run.glob("points/*/*.json")}
    assert len(before) == 9  # point.json, genotype.json and settings.json of three points
    status, out, _ = call_script("pareto", *WALK, f"run={run}")
    assert status == 0
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert set(NAMES) <= set(rows)
    assert "in the supernet, on images that trained no weight and, since the search, no alpha. Hypervolume" in out
    assert before == {path: path.stat().st_mtime_ns for path in before}
    status, _, err = call_script("pareto", *WALK, f"run={run}", "pareto.epochs=2")
    assert (status, "pareto.epochs was 1, is 2" in err) == (2, True)


def test_points_start_from_the_supernet_of_the_search_and_see_the_same_images(searched, data):
    first, second = (walked(searched, data, point) for point in plan(compose_experiment(WALK), data)[:2])
    state = torch.load(max(searched.glob("checkpoint/search-*.ckpt")), weights_only=True)
    for walk in (first, second):
        torch.testing.assert_close(walk.search.alphas.detach(), state["supernet"]["alphas"], rtol=0, atol=0)
    before = [weight.detach().clone() for weight in first.search.weight_step.weights]
    rows = [list(walk.epochs()) for walk in (first, second)]
    assert all(torch.equal(*pair) for pair in zip(first.search.weight_step.weights, before, strict=True))  # frozen
    assert not torch.equal(first.search.alphas, second.search.alphas)
    # before the first step, images and weights are the same: so are the losses
    assert rows[0][0]["objectives"]["accuracy"] == rows[1][0]["objectives"]["accuracy"]
    assert rows[0][0]["objectives"]["parameters"] != rows[1][0]["objectives"]["parameters"]


def test_weights_go_on_training_where_the_settings_say_so(searched, data):
    trained = plan(compose_experiment([*WALK, "pareto.weights=trained"]), data)[0]
    walk = walked(searched, data, trained)
    before = [weight.detach().clone() for weight in walk.search.weight_step.weights]
    assert all("training_loss" in row for row in walk.epochs())
    assert not all(torch.equal(*pair) for pair in zip(walk.search.weight_step.weights, before, strict=True))


def walked(folder, data, point):
    fabric = make_fabric(point.experiment.fabric)
    walk = Walk(point.experiment, data, fabric)
    walk.go_on_from(Checkpoints(folder, "search", fabric).load())
    return walk


def test_images_that_judge_have_trained_neither_weights_nor_the_alphas_of_the_walk(data):
    experiment = compose_experiment(WALK)
    walk = Walk(experiment, data, make_fabric(experiment.fabric))
    parts = [*walk.search.images.parts.values(), walk.held_back]
    assert [len(part) for part in parts] == [40, 20, 20]
    everything = torch.cat([part.images for part in parts]).flatten(1)
    assert torch.equal(everything.unique(dim=0), data.train.images.flatten(1).unique(dim=0))


def test_adapting_lowers_the_training_loss_of_the_cell(searched, data):
    long = compose_experiment([*WALK, "pareto.adapt_epochs=5"])
    walk = walked(searched, data, plan(long, data)[2])
    losses = list(walk.adapt(plan(long, data)[2].genotype))
    assert np.mean(losses[-4:]) < np.mean(losses[:4])


def test_a_cell_that_leaves_an_output_to_none_adapts_too(data):
    """The weights before that output are in no loss, and stay."""
    settings = ("space=nasbench201", "space.nodes=3", "pareto.adapt_epochs=1", "pareto.published=[]")
    experiment = compose_experiment([*(key for key in WALK if key != operations_of("PDARTS")), *settings])
    walk = Walk(experiment, data, make_fabric(experiment.fabric))
    cell = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|nor_conv_3x3~0|none~1|skip_connect~2|"
    losses = list(walk.adapt(Genotype.from_nasbench201(cell)))
    assert losses and np.isfinite(losses).all()  # noqa: PT018 - of one thing


def test_a_supernet_that_is_gone_is_missed(searched, tmp_path, call_script):
    folder = tmp_path / "run"
    shutil.copytree(searched, folder)
    shutil.rmtree(folder / "checkpoint")
    status, _, err = call_script("pareto", *WALK, f"run={folder}")
    assert (status, "holds no supernet to walk from" in err) == (2, True)


@pytest.mark.slow  # a comparison retrains and evaluates by the same code in each run of the tests
def test_retraining_judges_the_same_cells_by_their_own_networks(run, tmp_path, call_script, monkeypatch):
    quicken(monkeypatch, "cw")
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    more = ["pareto.retrain=true", "retrain.epochs=1", "retrain.channels=6", "evaluate.images=10"]
    more += ["evaluate.attacks=[fgsm,cw]"]
    status, _, err = call_script("pareto", *WALK, f"run={folder}", *more)
    assert status == 0, err
    before, after = (read_front(each / "pareto.json") for each in (run, folder))
    assert after.retrained
    assert after.agreement is None or -1 <= after.agreement <= 1
    for old, new in zip(before.points, after.points, strict=True):
        genotype = Genotype.from_json((folder / "points" / new.name / "genotype.json").read_text())
        cost = network_cost(genotype, channels=6, layers=3, num_classes=10, image_size=8, in_channels=1)
        assert new.parameters == cost.parameters
        assert (new.robust.attack, new.robust.images) == ("fgsm", 10)
        assert new.supernet == old.supernet


@pytest.mark.usefixtures("drawn")
def test_the_report_shows_the_front_with_all_its_points(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    for drawn in ("metrics.jsonl", "alphas.safetensors"):  # of figures of the search
        (folder / drawn).unlink()
    page = run_report.write(folder).read_text(encoding="utf-8")
    assert run_report.table([folder]) == str(read_front(run / "pareto.json"))
    assert '<h2 id="pareto">' in page
    assert "parameters from" in page
    for picture in ("parameters", "macs", "accuracies"):
        png = (folder / "figures" / f"pareto-{picture}.png").read_bytes()
        assert base64.b64encode(png).decode() in page
    front = read_front(run / "pareto.json")
    assert f"{front.hypervolume:.3f} of the box" in page


def test_a_damaged_front_is_named(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    content = json.loads((folder / "pareto.json").read_text())
    for damaged in (content | {"points": [{"name": "000"}]}, {"points": []}, [], content | {"more": 1}):
        (folder / "pareto.json").write_text(json.dumps(damaged))
        with pytest.raises(RunError, match=re.escape(str(folder / "pareto.json"))):
            read_run(folder)
