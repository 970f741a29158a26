"""Reports of small synthetic run folders, written with the project's own writers."""

import base64
import hashlib
import json
import re
from dataclasses import asdict, replace

import pytest
import torch

from pipeline.errors import RunError
from pipeline.evaluation.accuracy import wilson_interval
from pipeline.report import figures, run_report
from pipeline.runs.files import write_atomically, write_json
from pipeline.settings import Experiment
from search_space import SearchSpace
from search_space.supernet.relaxation import Relaxation
from tests.support.figures import drawing
from tests.support.runs.folders import (
    GENOTYPE,
    ONNX,
    accuracy,
    write_network,
    write_robustness,
    write_search,
)


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mine"
    write_search(folder)
    results = [accuracy("clean", 190), accuracy("pgd-20", 120), accuracy("autoattack", 91)]
    write_robustness(folder, write_network(folder), results)
    write_json(folder / "onnx.json", ONNX)
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "rival"
    results = [accuracy("clean", 186), accuracy("pgd-20", 111), accuracy("autoattack", 61)]
    write_robustness(folder, write_network(folder, name="DARTS_V2", channels=5), results)
    return folder


@pytest.fixture(scope="module")
def page(mine, other):
    with drawing():
        return run_report.write(mine, [other]).read_text(encoding="utf-8")


def test_every_figure_of_the_page_is_also_a_png_beside_it(page, mine):
    inline = {hashlib.sha256(base64.b64decode(text)).digest() for text in re.findall(r"png;base64,([^\"]+)", page)}
    files = {hashlib.sha256(path.read_bytes()).digest() for path in (mine / "figures").glob("*.png")}
    assert len(inline) == 21
    assert inline == files


@pytest.mark.usefixtures("drawn")
def test_the_same_files_give_the_same_page(page, mine, other):
    assert run_report.write(mine, [other]).read_text(encoding="utf-8") == page


def test_the_page_shows_the_results_of_all_runs_with_intervals(page):
    low, high = wilson_interval(91, 200)
    assert "45.5\N{NO-BREAK SPACE}%" in page
    assert f"{100 * low:.1f} to {100 * high:.1f}" in page
    assert "30.5\N{NO-BREAK SPACE}%" in page  # of the other run
    assert "searched against DARTS_V2, under autoattack: +15.0 points; the intervals do not overlap." in page


def test_the_page_says_which_bounds_are_kept(page):
    assert re.search(r"✓ kept</span>parameters: 4,321 when derived; bound from 100 to 5,000", page)
    assert re.search(r"✗ broken</span>MACs: 234,567 when derived; bound at most 200,000", page)


def test_the_page_warns_when_the_trained_network_is_not_the_bounded_one(page):
    assert "the trained one has another shape" in page


def test_the_page_says_that_the_guard_went_back_and_shows_the_signs_of_collapse(page):
    assert "After epoch 2 the guard found a collapse: the alphas went back to those of epoch 1." in page
    assert "normal cell from 2 to 3, reduction cell from 6 to 5." in page
    assert "Largest eigenvalue from" not in page  # of two epochs


def test_a_curve_of_eigenvalues_takes_four_epochs():
    found = [{"weight_free": {"normal": 1}, "eigenvalue": {"value": 0.1 * epoch}} for epoch in range(2, 6)]
    rows = [{"epoch": epoch, "diagnostics": diagnostics} for epoch, diagnostics in enumerate(found)]
    assert [picture.name for picture in figures.collapse_pictures(rows[:3], [])] == ["search-weight-free"]
    assert figures.collapse_pictures(rows, [])[1].alt == "Largest eigenvalue from 0.2 to 0.5, at most 0.5."


def test_the_page_is_called_after_the_cell_its_images_and_its_seed(page):
    assert "<h1>E2RNAS cell on digits, seed 0</h1>" in page
    assert page.index("points; the intervals") < page.index('id="results"')


def test_alphas_that_hardly_change_are_folded():
    space = SearchSpace()
    still = torch.zeros(3, space.cells, *space.mask.shape[1:])
    moved = still.clone()
    moved[-1, ..., 1] = 3
    for alphas, folded in ((still, True), (moved, False)):
        pictures = figures.alpha_pictures(alphas, space, None)
        assert {picture.is_folded for picture in pictures if "edges" in picture.name} == {folded}


def test_the_heatmap_is_of_what_the_relaxation_of_the_search_gives():
    relaxation = Relaxation(operations="sigmoid", normalised_edges=True)
    alphas = torch.zeros(2, *relaxation.alpha_shape(SearchSpace()))
    heatmap = figures.alpha_pictures(alphas, SearchSpace(), None, relaxation)[0]
    assert heatmap.caption == "Sigmoid of the alphas, times the softmax of the edges after the last epoch, in %."


def test_the_stored_settings_stand_in_the_page_as_json(page, mine):
    text = page.split("All settings as JSON</summary>")[1].split("</pre>")[0].split(">", 1)[1]
    stored = json.loads(text.replace("&#34;", '"').replace("&#39;", "'").replace("&amp;", "&"))
    assert stored["search"] == json.loads((mine / "search.json").read_text())["settings"]
    assert set(stored) == {"search", "retrain", "evaluate"}


@pytest.mark.usefixtures("drawn")
def test_names_from_files_cannot_write_html(tmp_path):
    attack = '<img src=x onerror="alert(1)">'
    name = "</title><script>alert(2)</script>$\\frac{"
    experiment = Experiment.model_validate({"data": {"source": "huggingface", "path": '"><iframe src=//evil>'}})
    folder = tmp_path / "<b>bold<" / "'quoted' & more"
    write_search(folder, experiment)
    for drawn in ("metrics.jsonl", "alphas.safetensors"):  # of figures that hold no name
        (folder / drawn).unlink()
    description = write_network(folder, name=name, data="<svg onload=alert(3)>")
    write_robustness(folder, description, [accuracy("clean", 190), accuracy(attack, 100)], experiment)
    write_json(folder / "onnx.json", ONNX | {"attack": "<i>key</i><script>"})
    page = run_report.write(folder).read_text(encoding="utf-8")
    for text in ("<script", "<iframe", "<svg", "<img src=x", "<b>bold", "<i>key", 'onerror="'):
        assert text not in page
    assert "&lt;script&gt;alert(2)" in page


@pytest.mark.parametrize(
    ("write", "sections"),
    [
        (write_search, {"cells", "search", "alphas"}),
        (lambda folder: write_search(folder, finished=False), {"search"}),
        (write_network, {"cells", "training"}),
        (lambda folder: write_atomically(folder / "genotype.json", GENOTYPE.to_json()), {"cells"}),
    ],
    ids=["searched", "searching", "retrained", "genotype alone"],
)
def test_sections_without_files_are_left_out(tmp_path, write, sections):
    write(tmp_path)
    page = run_report.write(tmp_path).read_text(encoding="utf-8")
    assert set(re.findall(r'<h2 id="(\w+)"', page)) == {*sections, "repeat"}


def test_an_unfinished_search_is_called_unfinished(tmp_path):
    write_search(tmp_path, finished=False)
    assert "The search is not finished" in run_report.write(tmp_path).read_text(encoding="utf-8")


def test_a_folder_with_nothing_to_report_is_refused_with_what_was_looked_for(tmp_path):
    with pytest.raises(RunError, match=r"nothing to report; looked for genotype\.json, network\.json"):
        run_report.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["genotype.json", "network.json", "search.json", "alphas.safetensors"])
def test_a_damaged_file_is_named(tmp_path, name):
    write_search(tmp_path)
    (tmp_path / name).write_text('{"half": ')
    with pytest.raises(RunError, match=re.escape(str(tmp_path / name))):
        run_report.write(tmp_path)


def test_runs_that_were_not_evaluated_alike_are_not_compared_silently(tmp_path, mine):
    description = write_network(tmp_path / "weaker", name="weaker")
    write_robustness(tmp_path / "weaker", description, [accuracy("clean", 190), accuracy("pgd-20", 180, eps=0.01)])
    page = run_report.write(tmp_path / "weaker", [mine]).read_text(encoding="utf-8")
    assert "which may be why accuracies differ: see the settings of pgd-20." in page


def test_accuracies_of_another_network_than_the_folder_holds_are_pointed_out(tmp_path):
    old = write_network(tmp_path, channels=5)
    write_robustness(tmp_path, old, [accuracy("clean", 190)])
    write_network(tmp_path, channels=6)
    page = run_report.write(tmp_path).read_text(encoding="utf-8")
    assert "robustness.json holds figures of other weights than these, which are not shown" in page
    assert "95.0" not in page


def test_the_table_has_a_row_a_run_with_accuracies_sizes_and_intervals(mine, other):
    text = run_report.table([mine, other])
    low, high = wilson_interval(91, 200)
    rows = {line.split()[0]: line.split() for line in text.splitlines()}
    assert rows["run"] == ["run", "parameters", "MACs", "clean", "pgd-20", "autoattack"]
    assert rows["searched"][-3:] == ["95.0", "60.0", "45.5"]
    assert rows["DARTS_V2"][-3:] == ["93.0", "55.5", "30.5"]
    assert f"{100 * low:.1f}-{100 * high:.1f}" in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_table_says_what_else_was_measured_of_each_run(tmp_path):
    description = write_network(tmp_path, name="searched")
    rows = [accuracy("clean", 190), replace(accuracy("pgd-20", 100), right_by_class=(60, 30, 10))]

    def measured(name, right, **settings):
        return asdict(replace(accuracy(name, right), settings=settings))

    more = {
        "classes": {"names": ["zero", "one", "two"], "images": [70, 70, 60]},
        "sweep": [measured("pgd-20", right, eps=eps, norm="Linf") for eps, right in ((0.05, 150), (0.1, 100))],
        "corruptions": [
            measured(f"gaussian_blur-{s}", right, corruption="gaussian_blur", severity=s)
            for s, right in ((1, 160), (2, 80))
        ],
        "checks": {"believed": True, "verdict": "no sign of gradient masking", "checks": []},
    }
    write_robustness(tmp_path, description, rows, **more)
    write_json(tmp_path / "onnx.json", ONNX | {"largest_logit_difference": 2e-6})
    assert run_report.table([tmp_path]).splitlines()[-5:] == [
        "searched: no sign of gradient masking.",
        "searched: under pgd-20 within Linf radius 0.05 75.0 %, 0.1 50.0 %.",
        "searched: corrupted, mean over severities: gaussian blur 60.0 %.",
        "searched: weakest class under pgd-20: two, 16.7 %.",
        "searched: network.onnx: logits within 2.0e-06 of PyTorch's, 0 labels differ.",
    ]


def test_the_table_leaves_a_gap_where_an_attack_was_not_run(tmp_path, mine):
    write_robustness(tmp_path, write_network(tmp_path, name="quick"), [accuracy("clean", 199)])
    row = next(line for line in run_report.table([mine, tmp_path]).splitlines() if line.startswith(" quick"))
    assert row.split()[-3:] == ["99.5", "-", "-"]


def test_a_name_cannot_send_commands_to_the_terminal(tmp_path):
    description = write_network(tmp_path, name="[bold]\x1b[2Jgone")
    write_robustness(tmp_path, description, [accuracy("clean", 199)])
    assert r"[bold]\x1b[2Jgone" in run_report.table([tmp_path])


@pytest.mark.parametrize("write", [write_search, lambda folder: write_search(folder, finished=False)])
def test_the_table_leaves_gaps_for_a_run_that_was_not_evaluated(tmp_path, mine, write):
    write(tmp_path / "searched_only")
    row = next(
        line for line in run_report.table([mine, tmp_path / "searched_only"]).splitlines() if "searched_only" in line
    )
    assert row.split()[-3:] == ["-", "-", "-"]


def test_the_table_of_runs_that_were_not_evaluated_is_one_line_that_says_so(tmp_path):
    write_search(tmp_path / "first")
    write_network(tmp_path / "second", name="second\n")
    text = run_report.table([tmp_path / "first", tmp_path / "second"])
    assert re.fullmatch(r".*what first, second\\n now holds was not evaluated; run evaluate\.py\.", text)


@pytest.mark.parametrize(
    ("write", "stage", "keys"),
    [
        (write_search, "search", ["step"]),
        (write_search, "search", ["objectives", "macs"]),
        (write_search, "search", ["balance", "norm"]),
        (write_search, "search", ["derived", "parameters"]),
        (write_network, "retrain", ["epoch"]),
        (write_network, "retrain", ["training_accuracy"]),
        (write_search, "search", ["stage"]),
    ],
)
def test_a_row_of_metrics_without_what_is_drawn_of_it_is_named(tmp_path, write, stage, keys):
    write(tmp_path)
    path = tmp_path / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    *outer, last = keys
    holder = rows[2]
    for key in outer:
        holder = holder[key]
    del holder[last]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RunError, match=f"{re.escape(str(path))} is not what .*{re.escape('.'.join(keys))}"):
        run_report.write(tmp_path)
