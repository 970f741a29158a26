"""Many runs in one report: groups that differ in the seed alone, their means, their page, and the script."""

import json
import math
import statistics
from pathlib import Path
from urllib.parse import unquote

import pytest

from pipeline.errors import RunError
from pipeline.report import run_report
from pipeline.report.figures.groups import group_pictures
from pipeline.report.run_reader import read_runs
from pipeline.report.sweeps import sweep_report
from pipeline.report.sweeps.seed_groups import front, groups, runs_in, spread
from pipeline.runs.files import write_atomically
from pipeline.settings import Experiment
from search_space import PUBLISHED
from tests.support.figures import drawing
from tests.support.runs.folders import accuracy, write_network, write_robustness, write_search
from tests.support.runs.pages import Page

RIGHT = {0: 120, 1: 130, 2: 110}


def write_run(folder, seed=0, right=120, *, attack_steps=7, channels=4, searched=True, name="searched"):
    experiment = Experiment.model_validate({"seed": seed, "attack": {"steps": attack_steps}})
    if searched:
        write_search(folder, experiment)
        settings = json.loads((folder / "search.json").read_text())
        settings["settings"]["attack"] = {"steps": attack_steps}
        (folder / "search.json").write_text(json.dumps(settings))
        for drawn in ("metrics.jsonl", "alphas.safetensors"):  # fewer figures, less time
            (folder / drawn).unlink()
    description = write_network(folder, name=name, channels=channels, experiment=experiment)
    results = [accuracy("clean", 190), accuracy("pgd-20", right)]
    write_robustness(folder, description, results, experiment)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Three seeds of one setting, two of another whose networks are larger, and one published cell."""
    folder = tmp_path_factory.mktemp("runs") / "sweep & more"
    for seed, right in RIGHT.items():
        write_run(folder / "weak" / f"seed{seed}", seed, right)
    for seed in (0, 1):
        write_run(folder / "strong" / f"seed{seed}", seed, 150 + seed, attack_steps=20, channels=6)
    write_run(folder / "published", 0, 60, searched=False, name="DARTS_V2")
    return folder


@pytest.fixture(scope="module")
def text(sweep):
    with drawing():
        return sweep_report.write(sweep, runs_in(sweep)).read_text(encoding="utf-8")


def test_runs_that_differ_in_their_seed_alone_are_one_group(sweep):
    found = groups(sweep_report.labelled(sweep, runs_in(sweep)))
    assert {group.name: group.seeds for group in found} == {"published": [0], "strong": [0, 1], "weak": [0, 1, 2]}
    assert [group.asked["attack.steps"] for group in found] == ["-", "20", "7"]


def test_the_mean_and_the_deviation_are_those_of_the_sample(sweep):
    weak = groups(sweep_report.labelled(sweep, runs_in(sweep)))[-1]
    values = [right / 200 for right in RIGHT.values()]
    found = weak.accuracy("pgd-20")
    assert (found.mean, found.deviation) == (pytest.approx(0.6), pytest.approx(statistics.stdev(values)))
    assert (found.low, found.high, found.count) == (0.55, 0.65, 3)
    assert math.isnan(spread([0.5]).deviation)
    assert spread([]) is None
    assert weak.accuracy("square") is None


def test_a_given_cell_is_a_setting_and_a_searched_one_an_outcome(tmp_path):
    for name in ("DARTS_V2", "PDARTS"):
        write_run(tmp_path / name, searched=False, name=name)
    write_run(tmp_path / "a", seed=0, channels=4)
    write_run(tmp_path / "b", seed=1, channels=5)
    write_atomically(tmp_path / "b" / "genotype.json", PUBLISHED["PDARTS"].genotype.to_json())
    found = groups(sweep_report.labelled(tmp_path, runs_in(tmp_path)))
    assert sorted(len(group.runs) for group in found) == [1, 1, 2]


def test_groups_without_folders_of_their_own_are_named_by_what_differs(tmp_path):
    for seed, steps in ((0, 7), (1, 7), (0, 20)):
        write_run(tmp_path / f"{steps}-{seed}", seed, attack_steps=steps)
    assert [group.name for group in groups(sweep_report.labelled(tmp_path, runs_in(tmp_path)))] == [
        "attack.steps 20",
        "attack.steps 7",
    ]


def test_seeds_of_one_setting_are_all_runs(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / f"seed{seed}", seed)
    assert [group.name for group in groups(sweep_report.labelled(tmp_path, runs_in(tmp_path)))] == ["all runs"]


def test_a_group_is_on_the_front_unless_another_is_as_good_in_all_four(sweep):
    found = groups(sweep_report.labelled(sweep, runs_in(sweep)))
    # published and weak are of one size and one clean accuracy: the more robust one dominates
    assert dict(zip([group.name for group in found], front(found, "pgd-20"), strict=True)) == {
        "published": False,
        "strong": True,
        "weak": True,
    }


def test_two_groups_are_no_front(sweep):
    found = groups(sweep_report.labelled(sweep, runs_in(sweep)))
    two = [group for group in found if group.name != "published"]
    assert all("Dotted: the Pareto front" in picture.caption for picture in group_pictures(found, "pgd-20"))
    assert not any("Dotted" in picture.caption for picture in group_pictures(two, "pgd-20"))


def test_the_page_has_a_row_a_group_and_a_row_a_run(text):
    assert "60.0 ± 5.0\N{NO-BREAK SPACE}%<small>55.0 to 65.0</small>" in text
    assert "6 runs, 6 of them measured, in 3 groups." in text
    assert text.count('report.html">') == 6


def test_the_page_is_well_formed_and_takes_nothing_from_outside(text, sweep):
    page = Page(text)
    assert page.faults == []
    links = [given["href"] for tag, given, _ in page.of("a") if not given["href"].startswith("#")]
    assert len(links) == 6
    assert not any(link.startswith("/") for link in links)  # the folder can be moved
    assert all((sweep / unquote(link)).is_file() for link in links)
    loaded = [reference for reference in page.references if reference not in links]
    assert all(reference.startswith(("data:", "#")) for reference in loaded)
    assert len(page.of("img")) == len(list((sweep / "figures").glob("*.png"))) == 2


def test_the_table_has_means_and_deviations(sweep):
    rows = {line.split()[0]: line for line in sweep_report.table(sweep, runs_in(sweep)).splitlines()}
    assert "60.0 ± 5.0" in rows["weak"]
    assert rows["weak"].split()[1] == "3"
    assert "±" not in rows["published"]


def test_the_table_says_where_runs_were_not_evaluated_alike(tmp_path, sweep):
    assert "evaluated alike" not in sweep_report.table(sweep, runs_in(sweep))
    for name, eps in (("a", 0.1), ("b", 0.2)):
        experiment = Experiment.model_validate({"evaluate": {"eps": eps}})
        description = write_network(tmp_path / name, experiment=experiment)
        write_robustness(tmp_path / name, description, [accuracy("clean", 190)], experiment)
    *_, last = sweep_report.table(tmp_path, runs_in(tmp_path)).splitlines()
    assert last.endswith("not evaluated alike, which may be why accuracies differ: see evaluate.eps.")


def test_a_run_that_was_not_evaluated_is_named_and_in_no_group(tmp_path):
    write_run(tmp_path / "whole")
    write_network(tmp_path / "half<script>")
    text = sweep_report.write(tmp_path, runs_in(tmp_path)).read_text(encoding="utf-8")
    assert "in no group: half&lt;script&gt;; run evaluate.py on them." in text
    assert "<script" not in text
    assert "1 of them measured, in 1 group." in text


def test_a_folder_without_any_measured_run_still_has_a_page(tmp_path):
    write_network(tmp_path / "half")
    assert "in 0 groups" in sweep_report.write(tmp_path, runs_in(tmp_path)).read_text(encoding="utf-8")
    assert "run evaluate.py" in sweep_report.table(tmp_path, runs_in(tmp_path))


def test_runs_inside_a_run_are_part_of_it(tmp_path):
    write_network(tmp_path / "walk")
    write_network(tmp_path / "walk" / "points" / "01")
    assert runs_in(tmp_path) == [tmp_path / "walk"]
    assert runs_in(tmp_path / "walk") == [tmp_path / "walk"]


def test_a_folder_without_runs_is_refused_with_what_was_looked_for(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match=r"nothing to report, nor do folders in it; looked for genotype\.json"):
            runs_in(folder)


def test_seeds_beside_a_run_are_averaged_on_its_page(sweep):
    mine, *others = runs_in(sweep / "weak")
    page = run_report.write(mine, others).read_text(encoding="utf-8")
    assert "Means over seeds" in page
    assert "60.0 ± 5.0" in page
    assert "Means over seeds" not in run_report.write(mine).read_text(encoding="utf-8")


def test_the_script_reports_a_folder_of_runs_and_expands_one_that_is_compared(tmp_path, call_script):
    for seed in (0, 1):
        write_run(tmp_path / "seeds" / f"seed{seed}", seed)
    write_run(tmp_path / "mine", 2)
    status, out, err = call_script("report", f"run={tmp_path / 'seeds'}")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == str(tmp_path / "seeds" / "report.html")
    assert "60.0 ± 0.0" in out
    assert (tmp_path / "seeds" / "seed1" / "report.html").exists()
    status, out, _ = call_script("report", f"run={tmp_path / 'mine'}", f"compare=[{tmp_path / 'seeds'}]")
    assert status == 0
    assert len(read_runs([tmp_path / "mine", *runs_in(tmp_path / "seeds")])) == 3
    assert "Means over seeds" in (tmp_path / "mine" / "report.html").read_text()


def test_the_script_refuses_a_folder_without_runs(tmp_path, call_script):
    status, out, err = call_script("report", f"run={tmp_path}")
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert not list(Path(tmp_path).iterdir())
