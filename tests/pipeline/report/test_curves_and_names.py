"""Names, colours and curves of figures, and the commands that give the stored settings again."""

import json
import shlex
from dataclasses import replace

import numpy as np
import pytest

from e2rnas.cli.app import compose_experiment
from pipeline.evaluation.accuracy import strongest
from pipeline.presentation.curves import averaged, pareto_front
from pipeline.presentation.words import magnitude
from pipeline.report import figures
from pipeline.report.figures import results as result_figures
from pipeline.report.figures import search_pictures
from pipeline.report.page_content import content
from pipeline.report.run_reader import read_run, read_runs
from pipeline.settings import Experiment
from tests.support.runs.folders import (
    DERIVED,
    accuracy,
    write_network,
    write_search,
)

pytestmark = pytest.mark.usefixtures("drawn")


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder in ("first", "second"):
        write_network(tmp_path / folder)
    assert list(read_runs([tmp_path / "first", tmp_path / "second"])) == ["first", "second"]
    assert list(read_runs([tmp_path / "first", tmp_path / "first"])) == ["searched"]


def test_a_run_keeps_its_colour_where_another_has_no_data(monkeypatch):
    drawn = []
    monkeypatch.setattr(result_figures, "_points", lambda axes, x, results, index, **kwargs: drawn.append(index))
    results = {"unmeasured": [], "measured": [accuracy("clean", 190)]}
    figures.accuracy_picture(results)
    figures.size_picture(results, {"measured": 1000}, strongest(results))
    assert drawn == [1, 1]


def test_the_strongest_attack_is_one_that_every_run_met():
    results = {
        "a": [accuracy("clean", 190), accuracy("pgd-20", 100), accuracy("autoattack", 90)],
        "b": [accuracy("clean", 190), accuracy("pgd-20", 95)],
    }
    assert strongest(results) == "pgd-20"
    assert strongest({"b": [accuracy("clean", 190)]}) == "clean"
    tied = [accuracy(name, 100) for name in ("clean", "autoattack", "pgd-20")]
    assert strongest({"a": tied}) == "autoattack"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (36_120, "36.1 k"), (999_960, "1.00 M"), (1_370_134, "1.37 M")],
)
def test_counts_are_shown_with_three_digits(value, text):
    assert magnitude(value).replace("\N{NO-BREAK SPACE}", " ") == text


def test_averaging_keeps_the_mean_and_every_step_of_a_short_curve():
    values = np.random.default_rng(0).random(960)
    steps, means = averaged(range(960), values)
    assert len(steps) == 160
    assert means.mean() == pytest.approx(values.mean())
    assert averaged(range(7), range(7))[1].tolist() == list(range(7))


def test_a_long_search_is_drawn_from_few_points_that_hold_its_extremes(tmp_path):
    write_search(tmp_path, finished=False)
    row = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    sizes = [1000 + 37 * (step % 50) for step in range(2000)]
    rows = [row | {"step": step, "derived": DERIVED | {"parameters": size}} for step, size in enumerate(sizes)]
    picture = next(p for p in search_pictures(rows, "conv_linear_macs") if p.name == "search-parameters")
    assert "mean of 13 steps" in picture.caption
    assert f"between {min(sizes):,} and {max(sizes):,}" in picture.alt


def test_the_weights_are_called_shares_only_where_they_sum_to_1_and_by_the_balance_that_made_them(
    tmp_path, monkeypatch
):
    write_search(tmp_path, finished=False)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    drawn = {}

    def keep(figure):
        drawn[figure.axes[0].get_ylabel()] = figure.axes[0]

    monkeypatch.setattr("pipeline.report.figures.search.add_legend", keep)

    def weights(rows, balance):
        found = {picture.name: picture for picture in search_pictures(rows, "conv_linear_macs", balance)}
        return found["search-weights"], found["search-direction"]

    picture, direction = weights(rows, "mgda")
    assert picture.title == "Weights of the objectives (MGDA)"
    assert "they sum to 1" in picture.caption
    assert drawn["weight"].get_ylim() == (0, 1)
    assert "lowers all" in direction.caption
    summed = [row | {"balance": row["balance"] | {"weights": {"accuracy": 1.0, "robustness": 1.0}}} for row in rows]
    picture, direction = weights(summed, "weighted_sum")
    assert picture.title == "Weights of the objectives (weighted sum)"
    assert "sum to 1" not in picture.caption
    assert drawn["weight"].get_ylim()[1] > 2
    assert "lowers all" not in direction.caption
    assert weights(rows, None)[0].title == "Weights of the objectives"


def test_a_sweep_draws_each_attack_in_the_norm_of_the_first_and_names_the_runs_of_another():
    def swept(attack, norm="Linf"):
        rows = [accuracy(attack, right, eps=eps) for right, eps in ((150, 0.1), (90, 0.2))]
        return [replace(row, settings=row.settings | {"norm": norm}) for row in rows]

    sweeps = {"a": [], "b": swept("pgd-20"), "c": swept("square"), "d": swept("pgd-20"), "e": swept("pgd-20", "L2")}
    picture = figures.sweep_picture(sweeps, dict.fromkeys(sweeps, accuracy("clean", 190)))
    assert [words.split(":")[0] for words in picture.alt.split("; ")] == ["b, pgd-20", "c, square", "d, pgd-20"]
    assert picture.caption.endswith("Measured in another norm, and not drawn: e.")
    assert "not drawn" not in figures.sweep_picture({"b": sweeps["b"]}, {"b": accuracy("clean", 190)}).caption


def test_the_pareto_front_holds_what_no_other_run_beats_in_both():
    points = [(1, 0.2), (2, 0.5), (2, 0.4), (3, 0.5), (4, 0.7), (5, 0.1)]
    assert pareto_front(points) == [(1, 0.2), (2, 0.5), (4, 0.7)]


def test_the_commands_give_the_stored_settings_again(tmp_path):
    data = {"source": "huggingface", "path": """it's, "quoted" [é] = #1""", "limit": 50}
    experiment = Experiment.model_validate({"seed": 7, "data": data})
    write_search(tmp_path, experiment)
    commands = {stage["name"]: stage["command"] for stage in content({"mine": read_run(tmp_path)})["stages"]}
    again = compose_experiment(shlex.split(commands["search"].replace("\\\n", " "))[2:])
    names = ("seed", "data", "space", "objectives", "search")
    assert [getattr(again, name) for name in names] == [getattr(experiment, name) for name in names]
