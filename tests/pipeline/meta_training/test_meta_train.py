"""The stage that trains optimizers, through its script: files, resuming, processes and refusals."""

import io
import json
import re
import sys
from contextlib import redirect_stdout

import learned_optimizer as learned_optimizer_benchmark
import meta_gradients
import outer_curves
import pytest
import task_counts
import torch

from e2rnas.cli.app import Refused, compose_experiment
from e2rnas.cli.programs import main_of
from learned_optimizers import load_theta, new_theta
from learned_optimizers.meta_training.judging import theta_curves
from learned_optimizers.meta_training.normalisation import normalised, scales
from learned_optimizers.tasks import sample_task
from pipeline.runs.metrics import read_metrics
from tests.support.forks import killed_until_done
from tests.support.scripts import TINY_META, finish_script, run_script
from tests.support.slowly import slowly


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder after a training in two processes."""
    folder = tmp_path_factory.mktemp("runs") / "meta"
    with redirect_stdout(io.StringIO()) as out:
        finish_script("meta_train", *TINY_META, "meta.processes=2", f"run={folder}")
    assert "1,762 meta-parameters" in out.getvalue()
    return folder


@pytest.mark.slow
def test_the_figure_by_which_settings_are_chosen_is_the_judged_loss_of_the_theta_that_is_kept(run, capsys):
    figure = main_of("meta_train")(compose_experiment([*TINY_META, f"run={run}"]))
    assert figure == json.loads((run / "theta.json").read_text())["best"]["mean"]


def test_a_training_leaves_theta_how_it_was_made_and_its_curve(run):
    theta, made = load_theta(run / "theta.safetensors"), json.loads((run / "theta.json").read_text())
    assert made["architecture"] == theta.architecture == "mlp"
    assert made["parameters"] == theta.num_parameters == 1762
    assert made["settings"]["meta"]["families"] == ["quadratics", "mlp_clusters"]
    assert [row["step"] for row in made["curve"]] == [2, 3]
    assert made["best"] == min(made["curve"], key=lambda row: row["mean"])
    rows = read_metrics(run, "meta_train")
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert all(0 < row["loss"] <= 2 and row["not_finite"] == 0 for row in rows)
    assert (run / "figures" / "meta-loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_one_process_killed_at_every_renaming_ends_in_the_bits_of_two(run, tmp_path):
    folder = tmp_path / "killed"
    assert killed_until_done("meta_train", *TINY_META, f"run={folder}") >= 4
    assert (folder / "theta.safetensors").read_bytes() == (run / "theta.safetensors").read_bytes()
    assert read_metrics(folder, "meta_train") == read_metrics(run, "meta_train")
    assert not list(folder.glob("**/*.tmp"))


def test_a_finished_training_is_not_run_again_and_one_of_other_settings_is_refused(run, call_script):
    before = (run / "theta.safetensors").stat().st_mtime_ns
    status, _, err = call_script("meta_train", *TINY_META, f"run={run}")
    assert (status, (run / "theta.safetensors").stat().st_mtime_ns) == (0, before), err
    status, _, err = call_script("meta_train", *TINY_META, f"run={run}", "meta.sigma=0.02")
    assert (status, "meta.sigma was 0.01, is 0.02" in err) == (2, True)


@pytest.mark.parametrize(
    "overrides", [["meta.estimator=pes"], *slowly(["meta.full=true", "meta.estimator=es"]), ["meta.trainer=mlp"]]
)
def test_other_ways_of_training_run_to_their_end(tmp_path, call_script, overrides):
    status, _, err = call_script("meta_train", *TINY_META, f"run={tmp_path / 'run'}", *overrides)
    assert status == 0, err


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["meta.architecture=transformer"], "meta.architecture: expected one of mlp"),
        (["meta.families=[imagenet]"], "meta.families.0: expected one of mlp_digits"),
        (["meta.families=[copy,copy]"], "each once"),
        (["meta.last_length=201"], "expected at most meta.horizon=200"),
        (["meta.full=true", "meta.estimator=pes"], "meta.estimator=pes is for truncations"),
        (["meta.trainer=''"], "meta.trainer: String should have at least 1 character"),
        (["meta.pairs=1"], "meta.pairs: Input should be greater than or equal to 2, found 1"),
        (
            ["meta.least_horizon=20"],
            "meta.least_horizon=20: expected at most meta.horizon=200, and meta.estimator=backprop",
        ),
        (["meta.estimator=reinforce"], "'es', 'rp', 'merged', 'pes' or 'backprop'"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_allowed(overrides, message):
    with pytest.raises(Refused, match=re.escape(message)):
        compose_experiment(overrides)


def test_ray_is_asked_for_only_where_it_is(tmp_path, call_script, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, _, err = call_script("meta_train", *TINY_META, f"run={tmp_path / 'run'}", "meta.executor=ray")
    assert (status, "executor=ray needs ray" in err) == (2, True)
    assert torch.get_num_threads() == 1


@pytest.mark.slow
def test_two_processes_of_ray_give_the_bits_of_two_others(run, tmp_path):
    pytest.importorskip("ray", reason="the extra ray")
    folder = tmp_path / "ray"
    status, _, err = run_script("meta_train", *TINY_META, "meta.processes=2", "meta.executor=ray", f"run={folder}")
    assert status == 0, err
    assert (folder / "theta.safetensors").read_bytes() == (run / "theta.safetensors").read_bytes()


def test_meta_gradients_are_compared_at_every_length(tmp_path, monkeypatch):
    tiny = ["--untrained", "--lengths", "1", "3", "--pairs", "4", "--group", "2", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["meta_gradients.py", *tiny])
    meta_gradients.main()
    text = (tmp_path / "meta_gradients.md").read_text()
    rows = [re.findall(r"[\d.e+-]+", line) for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [row[0] for row in rows] == ["1", "3"]
    for _, *figures in rows:
        plain_norm, plain_variance, rp_norm, rp_variance, *_ = map(float, figures)
        assert rp_norm == pytest.approx(plain_norm, rel=0.3)  # so short an unroll is smooth over sigma
        assert rp_variance == pytest.approx(plain_variance, rel=0.5)
    for name in ("norm", "variance"):
        assert (tmp_path / f"meta_gradients-{name}.png").read_bytes().startswith(b"\x89PNG")


def test_optimizers_of_few_and_of_many_tasks_are_judged_alike(tmp_path, monkeypatch):
    tiny = ["--counts", "2", "3", "--steps", "1", "--seeds", "1", "--horizon", "4", "--pairs", "2", "--streams", "1"]
    families = ["--families", "quadratics", "--held-out", "beale", "--judged", "1"]
    monkeypatch.setattr(sys, "argv", ["task_counts.py", *tiny, *families, "--results", str(tmp_path)])
    task_counts.main()
    text = (tmp_path / "task_counts.md").read_text()
    rows = [re.findall(r"-?\d+\.\d+", line) for line in text.splitlines() if re.match(r"\| [23] \|", line)]
    assert [len(row) for row in rows] == [9, 9]
    assert all(0.5 < float(figure) <= 2 for row in rows for figure in row)
    assert (tmp_path / "task_counts.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("comparison", ["self_training", "architectures"])
def test_outer_trainings_that_differ_in_one_thing_are_set_side_by_side(tmp_path, monkeypatch, comparison):
    tiny = ["--steps", "6", "--every", "3", "--seeds", "1", "--horizon", "10", "--pairs", "2", "--streams", "1"]
    tiny += ["--families", "quadratics", "--tasks", "2", "--judged", "1", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["outer_curves.py", comparison, *tiny])
    outer_curves.main()
    text = (tmp_path / f"{comparison}.md").read_text()
    rows = [re.findall(r"(\d\.\d+) \(", line) for line in text.splitlines() if re.match(r"\| [036] \|", line)]
    assert [len(row) for row in rows] == [2, 2, 2]
    assert (rows[0][0] == rows[0][1]) == (comparison == "self_training")  # both begin from one theta
    assert rows[2][0] != rows[2][1]
    assert (tmp_path / f"{comparison}.png").read_bytes().startswith(b"\x89PNG")


def test_an_exam_is_that_of_its_own_tasks():
    theta = new_theta("mlp", generator=torch.Generator().manual_seed(0))
    exam = task_counts.Exam.of(["beale"], 7, 2, 10)
    (scale,) = exam.scales.values()
    tasks = [sample_task("beale", 0, index) for index in (7, 8)]
    curves = theta_curves(theta, tasks, 10, seed=0, split="outer_validation")
    expected = normalised(curves, scale, 2.0).mean().item()
    assert exam.loss(theta, 10) == pytest.approx(expected, rel=1e-5)
    assert scale.tolist() == scales(tasks, 10, seed=0).tolist()


def test_steps_to_a_loss_are_counted_to_the_end_of_the_window_that_has_it():
    falling = torch.linspace(2, 1, 30).unsqueeze(1)
    swept = {name: torch.stack([falling, falling + 1], 1) for name in ("adam", "sgd")}
    digits = learned_optimizer_benchmark.Digits(falling - 0.5, swept, {})
    assert digits.best_rate("adam") == 0
    assert digits.best_after("adam").tolist() == [30]
    window = falling[:10].mean() - 0.5
    assert digits.reached_after(window + 1e-6).tolist() == [10]
    assert digits.reached_after(window - 1e-3).tolist() == [11]
    assert digits.reached_after(torch.tensor([0.1])).isinf().all()


@pytest.mark.slow
def test_the_learned_optimizer_is_set_beside_swept_ones(run, tmp_path, monkeypatch):
    tiny = ["--steps", "12", "--seeds", "2", "--tasks", "1", "--held-out", "beale", "--known", "quadratics"]
    argv = ["learned_optimizer.py", *tiny, "--theta", str(run / "theta.safetensors"), "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    learned_optimizer_benchmark.main()
    text = (tmp_path / "learned_optimizer.md").read_text()
    assert len(re.findall(r"^\| Adam, swept per task \| -?\d", text, re.MULTILINE)) == 2
    assert len(re.findall(r"best rate [\d.]+ \|", text)) == 3
    for name in ("digits", "held_out"):
        assert (tmp_path / f"learned_optimizer-{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_searched_network_is_trained_by_both(tmp_path, monkeypatch):
    import learned_network

    monkeypatch.setattr(learned_network, "DEMO", (*learned_network.DEMO, "search.epochs=1", "retrain.epochs=1"))
    argv = ["learned_network.py", "--seeds", "2", "--runs", str(tmp_path / "runs"), "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", argv)
    learned_network.main()
    text = (tmp_path / "learned_network-standard.md").read_text()
    assert len(re.findall(r"^\| [01] \| \d\.\d+ \| \d\.\d+ \|", text, re.MULTILINE)) == 2
    assert (tmp_path / "learned_network-standard.png").read_bytes().startswith(b"\x89PNG")
