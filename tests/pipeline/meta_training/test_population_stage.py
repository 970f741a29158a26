"""A population as a stage, through the script: its files, kills and signals, refusals, pictures and report."""

import json
import re
import signal
import sys

import kills
import population as population_benchmark
import pytest
import torch

from e2rnas.cli.app import Refused, compose_experiment
from e2rnas.cli.programs import main_of
from learned_optimizers import load_theta
from pipeline.compute.interruption import INTERRUPTED, REFUSED
from pipeline.errors import RunError
from pipeline.meta_training.population_figures import population_pictures
from pipeline.runs.metrics import read_metrics
from pipeline.runs.schemas import read_as
from pipeline.runs.stored_stages import LINEAGE_FILE, LineageFile
from tests.support.forks import assert_same, in_fork, killed_until_done, signal_after
from tests.support.scripts import TINY_META, finish_script, run_script

TINY_POPULATION = (
    *TINY_META,
    "meta.families=[quadratics]",
    "meta.horizon=5",
    "meta.streams=1",
    "meta.estimator=es",
    "meta.steps=2",
    "meta.judge_every=1",
    "meta.population.members=3",
    "meta.population.draws=2",
    "meta.population.best=1",
    "meta.population.exploited=1",
)
STAGE = kills.Stage("meta_train", TINY_POPULATION, ("theta.safetensors", LINEAGE_FILE, "scales.json"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder after a population has trained itself."""
    folder = tmp_path_factory.mktemp("runs") / "population"
    finish_script("meta_train", *TINY_POPULATION, f"run={folder}")
    return folder


def lineage_of(folder):
    return read_as(folder / LINEAGE_FILE, LineageFile, "meta_train")


def test_a_population_leaves_its_best_theta_and_who_descends_from_whom(run):
    lineage, made = lineage_of(run), json.loads((run / "theta.json").read_text())
    assert [judged.step for judged in lineage.judgements] == [0, 1, 2]
    for judged, after in zip(lineage.judgements, lineage.judgements[1:], strict=False):
        for member, next_one in zip(judged.members, after.members, strict=True):
            replaced_later = next_one.parent != after.members.index(next_one)
            born = judged.members[member.parent]
            assert replaced_later or next_one.generation == member.generation
            assert member.generation <= born.generation + 1
    assert all(m.parent == number for number, m in enumerate(lineage.judgements[-1].members))
    scores = [member.score for judged in lineage.judgements for member in judged.members]
    assert made["best"]["weighted"] == min(scores)
    assert main_of("meta_train")(compose_experiment([*TINY_POPULATION, f"run={run}"])) == made["best"]["mean"]
    assert load_theta(run / "theta.safetensors").num_parameters == made["parameters"] == 1762
    rows = read_metrics(run, "meta_train")
    assert [row["step"] for row in rows] == [0, 1]
    assert all(len(row["members"]) == 3 for row in rows)


def test_the_best_of_the_thetas_that_are_drawn_begin(run, tmp_path):
    all_drawn = ("meta.population.members=6", "meta.population.draws=1", "meta.steps=1")
    finish_script("meta_train", *TINY_POPULATION, *all_drawn, f"run={tmp_path / 'all'}")
    kept, drawn = ([m.score for m in lineage_of(at).judgements[0].members] for at in (run, tmp_path / "all"))
    assert kept == sorted(drawn)[:3] != drawn[:3]


def test_scales_hold_nothing_that_adam_reached(run):
    scales = torch.tensor(json.loads((run / "scales.json").read_text())["scales"])
    assert (scales[..., 0] > 0).all()
    assert (scales[..., 1] == 0).all()


def test_pictures_are_drawn_from_the_lineage_alone(run, tmp_path, drawn):
    copy = tmp_path / LINEAGE_FILE
    copy.write_bytes((run / LINEAGE_FILE).read_bytes())
    pictures = population_pictures(lineage_of(tmp_path))
    assert [picture.name for picture in pictures] == [
        "population-scores",
        "population-lineage",
        "population-trainers",
    ]
    assert all(picture.png.startswith(b"\x89PNG") for picture in pictures)
    assert all((run / "figures" / f"{picture.name}.png").exists() for picture in pictures)
    assert "3 members and 2 copies" in pictures[1].alt
    judgements = lineage_of(tmp_path).judgements
    assert len(population_pictures(LineageFile(judge_every=1, judgements=judgements[:1]))) == 1
    members = [member.model_copy(update={"score": None}) for member in judgements[0].members]
    of_lost = [judgements[0].model_copy(update={"members": tuple(members)}), *judgements[1:]]
    assert len(population_pictures(LineageFile(judge_every=1, judgements=tuple(of_lost)))) == 3


def test_branches_of_the_tree_do_not_cross():
    from pipeline.meta_training.population_figures import _Tree

    judged = [
        {"step": step, "members": [_member(parent) for parent in parents]}
        for step, parents in enumerate(([2, 1, 2], [0, 0, 2], [0, 1, 1], [0, 1, 2]))
    ]
    judgements = LineageFile.model_validate_json(json.dumps({"judge_every": 1, "judgements": judged})).judgements
    tree = _Tree.of(judgements)
    for index in range(1, 4):
        nodes = sorted(range(3), key=lambda number: tree.rows[index, number])
        above = [tree.rows[tree.parents[index, number]] for number in nodes]
        assert above == sorted(above)
        assert len({tree.rows[index, number] for number in range(3)}) == 3
    assert tree.line_to((3, 2)) == {(3, 2), (2, 1), (1, 0), (0, 2)}


def _member(parent, **changes):
    member = {"score": 0.5, "generation": 0, "parent": parent, "trainer": 0, "sigma": 0.01, "mutation": None}
    return member | changes


@pytest.mark.parametrize(
    ("judged", "message"),
    [
        ([[_member(0), _member(3)]], "expected parents and trainers out of 0 to 1"),
        ([[_member(0), _member(1, trainer=2)]], "expected parents and trainers out of 0 to 1"),
        ([[_member(0), _member(1)], [_member(0)] * 3], "expected 2 members at step 1, found 3"),
        ([[_member(0), _member(1, score="low")]], "judgements.0.members.1.score"),
        ([[_member(0, score=None), _member(1, score=None)]], "expected a finite score"),
        ([], "judgements"),
    ],
)
def test_a_lineage_that_no_population_has_is_refused_by_name(tmp_path, call_script, judged, message):
    content = [{"step": step, "members": members} for step, members in enumerate(judged)]
    (tmp_path / LINEAGE_FILE).write_text(json.dumps({"judge_every": 1, "judgements": content}))
    with pytest.raises(RunError, match=re.escape(message)):
        lineage_of(tmp_path)
    status, out, err = call_script("report", f"run={tmp_path}")
    assert (status, out, err.count("\n")) == (REFUSED, "", 1)
    assert "lineage.json is not what meta_train.py writes" in err


@pytest.mark.slow
def test_a_population_killed_at_every_renaming_ends_in_the_same_bits(run, tmp_path):
    folder = tmp_path / "killed"
    assert killed_until_done("meta_train", *TINY_POPULATION, f"run={folder}") >= 5
    assert_same(STAGE, folder, run)
    assert read_metrics(folder, "meta_train") == read_metrics(run, "meta_train")


def test_a_signal_leaves_a_checkpoint_of_the_present_step(run, tmp_path):
    folder = tmp_path / "stopped"
    seldom = kills.Stage(STAGE.script, (*TINY_POPULATION, "meta.judge_every=2"), STAGE.files)
    status, err = in_fork(seldom, folder, signal_after(1, signal.SIGTERM))
    assert (status, "SIGTERM" in err) == (INTERRUPTED, True), err
    assert sorted(path.name[:19] for path in folder.glob("checkpoint/*")) == [
        "meta_train-00000000",
        "meta_train-00000001",
    ]
    status, err = in_fork(seldom, folder)
    assert status == 0, err
    whole = tmp_path / "whole"
    assert in_fork(seldom, whole)[0] == 0
    assert_same(seldom, folder, whole)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", "ray"])
def test_two_processes_give_the_bits_of_one(run, tmp_path, executor):
    if executor == "ray":
        pytest.importorskip("ray", reason="the extra ray")
    more = ("meta.processes=2", f"meta.executor={executor}", f"run={tmp_path / 'two'}")
    status, _, err = run_script("meta_train", *TINY_POPULATION, *more)
    assert status == 0, err
    assert_same(STAGE, tmp_path / "two", run)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["members=1"], "meta.population.members=1: expected at least 2, or 0 for no population"),
        (["members=3", "exploited=4"], "best=2 and exploited=4: expected together at most meta.population.members=3"),
        (["members=3", "best=3", "exploited=1"], "expected together at most meta.population.members=3"),
        (["members=5", "trainers=[0,1,2,3,5]"], "trainers=[0, 1, 2, 3, 5]: expected 5 members, out of 0 to 4"),
        (["members=5", "trainers=[0,1]"], "trainers=[0, 1]: expected 5 members, out of 0 to 4"),
        (["members=5", "draws=0"], "meta.population.draws: Input should be greater than or equal to 1"),
        (["members=5", "init_scale=0.5"], "meta.population.init_scale: Input should be greater than or equal to 1"),
        (["members=5", "refresh=worst"], "'best', 'own' or 'none'"),
    ],
)
def test_a_population_that_cannot_be_is_refused_before_any_work(tmp_path, call_script, overrides, message):
    given = [f"meta.population.{override}" for override in overrides]
    run = f"run={tmp_path / 'run'}"
    status, out, err = call_script("meta_train", "experiment=meta_population", *given, run)
    assert (status, out, err.count("\n")) == (REFUSED, "", 1)
    assert message in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("meta.estimator=merged", "meta.estimator=merged: members of a population are trained by es or pes"),
        ("meta.trainer=mlp", "meta.trainer=mlp: members of a population train one another"),
        ("meta.logarithmic=true", "meta.logarithmic needs the loss that an Adam reaches"),
        ("meta.imitate.steps=3", "meta.imitate.steps=3: members of a population train one another"),
    ],
)
def test_what_would_train_members_by_something_else_is_refused(override, message):
    with pytest.raises(Refused, match=re.escape(message)):
        compose_experiment(["experiment=meta_population", override])


def test_a_population_has_a_report(run, call_script):
    status, out, err = call_script("report", f"run={run}")
    assert status == 0, err
    assert "normalised loss" in out
    page = (run / "report.html").read_text()
    assert "A population of 3 learned optimizers of mlp trained itself" in page
    assert '<p class="kicker">Learned optimizers' in page
    assert page.count("Who trains whom") == 1
    assert "meta.population.members=3" in page


def test_a_benchmark_of_a_population_is_measured_once_and_read_again(tmp_path, monkeypatch):
    tiny = ["--steps", "4", "--every", "1", "--seeds", "1", "--horizon", "4", "--pairs", "2", "--members", "2"]
    tiny += ["--tasks", "2", "--judged", "1", "--rates", "0.1", "--best", "1", "--exploited", "1"]
    folders = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["population.py", *tiny, *folders])
    population_benchmark.main()
    first = (tmp_path / "population.md").read_text()
    assert (
        len(re.findall(r"^\| (?:population|independent|frozen|adam)[^|]*\| \d\.\d+ \| \d\.\d+ \|$", first, re.M)) == 4
    )
    monkeypatch.setattr(population_benchmark.Trial, "run", lambda self: pytest.fail("measured again"))
    population_benchmark.main()
    assert (tmp_path / "population.md").read_text() == first
    assert (tmp_path / "population.png").read_bytes().startswith(b"\x89PNG")


def test_the_speed_of_a_curve_is_that_of_its_logarithm():
    steps = torch.arange(9.0, dtype=torch.float64)
    constant, faster = torch.exp(-0.1 * steps), torch.exp(-0.1 * steps**2)
    found = population_benchmark.speeds(torch.stack([constant, faster]))
    torch.testing.assert_close(found, torch.tensor([1.0, 3.0], dtype=torch.float64))
