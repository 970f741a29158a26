"""The report's page by itself: nothing from outside, well formed, readable; and the sections on robustness."""

import json
import re
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file, save_file

from attacks import evaluation_attack
from pipeline.data import as_float, load
from pipeline.errors import RunError
from pipeline.evaluation.examples import (
    EXAMPLES_FILE,
    TRIED,
    Examples,
    ExamplesOrigin,
    _of_both,
    keep_examples,
    read_examples,
)
from pipeline.networks.network_files import load_network
from pipeline.report import run_report
from pipeline.report.figures import examples_picture, sweep_picture
from pipeline.settings import DataSettings
from tests.support.figures import drawing
from tests.support.runs.folders import accuracy, write_network, write_robustness, write_search
from tests.support.runs.pages import Page

EPS = 0.2


PGD = ExamplesOrigin(attack={"name": "pgd-20", "eps": 8 / 255})


def write_full(folder):
    """A run folder with all that a page can show."""
    write_search(folder)
    description = write_network(folder, held_back=(0.8, 0.6))
    counted = [90, 70, 30], [60, 40, 20]
    results = [accuracy("clean", 190), accuracy("pgd-20", 120)]
    rows = [
        result.__class__(**(result.__dict__ | {"right_by_class": tuple(of)}))
        for result, of in zip(results, counted, strict=True)
    ]
    checks = [
        {"name": "large radius", "passed": True, "reason": "0.0 % are left at 0.5."},
        {"name": "black box", "passed": False, "reason": "square leaves 10.0 %, pgd-20 60.0 %."},
    ]
    verdict = "robustness not to be believed: square leaves 10.0 %, pgd-20 60.0 %"
    write_robustness(
        folder,
        description,
        rows,
        classes={"names": ["zero", "one", "<two>"], "images": [100, 70, 30]},
        sweep=[accuracy("pgd-20", right, eps=eps).__dict__ for right, eps in ((150, 0.05), (120, 0.1), (2, 0.5))],
        checks={"believed": False, "verdict": verdict, "checks": checks},
        corruptions=[
            accuracy(f"jpeg-{severity}", 190 - 9 * severity).__dict__
            | {"settings": {"corruption": "jpeg", "severity": severity}}
            for severity in range(1, 6)
        ],
    )
    write_examples(folder)
    return folder


def write_examples(folder):
    network = load_network(folder).network
    images = load(DataSettings()).test
    keep_examples(folder, network, images, evaluation_attack("pgd-20", network, eps=EPS, num_classes=3), measured={})
    return network, images


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_full(tmp_path_factory.mktemp("runs") / "full")


@pytest.fixture(scope="module")
def text(folder):
    with drawing():
        return run_report.write(folder).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_page_is_well_formed(page):
    assert page.faults == []
    assert len(set(page.ids)) == len(page.ids)
    assert page.of("html")[0][1] == {"lang": "en"}


def test_the_parser_of_these_tests_sees_faults():
    assert Page("<p><b>x</p></b>").faults
    assert Page("<p>").faults
    assert Page("<script></script>").faults
    assert Page('<p onclick="x"></p>').faults


def test_nothing_comes_from_outside_the_page(page, text):
    assert page.references
    assert all(reference.startswith(("data:", "#")) for reference in page.references)
    style = text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_a_browser_is_told_to_load_nothing_from_outside(page):
    policy = next(given["content"] for _, given, _ in page.of("meta") if "http-equiv" in given)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert not {"script-src", "connect-src"} & set(rules)
    assert page.elements.index(page.of("meta")[1]) < page.elements.index(page.of("style")[0])


def test_every_link_inside_the_page_has_its_target(page):
    assert {reference[1:] for reference in page.references if reference.startswith("#")} <= set(page.ids)


def test_every_image_is_described_in_words(page):
    images = page.of("img")
    assert len(images) >= 20
    assert all(len(given["alt"]) > 20 for _, given, _ in images)


def test_what_is_wide_scrolls_by_itself_and_can_be_reached_by_keyboard(page):
    for index, (tag, _, within) in enumerate(page.elements):
        if tag == "table":
            holder = next(e for e in reversed(page.elements[:index]) if e[0] == "div")
            assert within[-1] == "div"
            assert holder[1]["class"] == "scroll"
            assert holder[1]["tabindex"] == "0"


def test_headings_do_not_leave_out_a_level(page):
    levels = [int(tag[1]) for tag, _, _ in page.of("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_verdict_on_masking_stands_on_the_page_with_every_check(text):
    assert "Robustness not to be believed: square leaves 10.0 %, pgd-20 60.0 %." in text
    assert re.search(r"✓ no sign</span><b>large radius</b>: 0\.0 % are left at 0\.5\.", text)
    assert re.search(r"✗ a sign</span><b>black box</b>: square leaves", text)


def test_each_class_has_its_accuracies_and_the_worst_is_named(text):
    row = re.search(r'<th scope="row">&lt;two&gt;</th><td class="number">30</td>(.*?)</tr>', text).group(1)
    assert re.findall(r"([\d.]+)\N{NO-BREAK SPACE}%", row) == ["100.0", "66.7"]
    assert "the least is one: 57.1\N{NO-BREAK SPACE}% under pgd-20" in text


def test_overfitting_is_pointed_out_with_its_epochs(text, tmp_path):
    said = "from 80.0\N{NO-BREAK SPACE}% in epoch 1, whose weights were kept, to 60.0\N{NO-BREAK SPACE}% in epoch 2."
    assert said in text
    write_network(tmp_path / "honest", held_back=(0.79, 0.8))
    assert "overfits" not in run_report.write(tmp_path / "honest").read_text(encoding="utf-8")
    write_network(tmp_path / "fast", overfitted=2)
    assert "overfits catastrophically in epoch 2" in run_report.write(tmp_path / "fast").read_text(encoding="utf-8")


def test_the_page_says_with_what_each_stage_was_computed(text):
    for stage in ("search", "retrain", "evaluate"):
        row = re.search(rf'<th scope="row">{stage}</th>(.*?)</tr>', text).group(1)
        assert f"torch {torch.__version__}" in row
        assert "torchattacks 3.5.1" in row


def test_examples_are_the_first_images_that_fall_and_that_stand_within_the_radius(tmp_path):
    write_network(tmp_path)
    network, images = write_examples(tmp_path)
    found = read_examples(tmp_path / EXAMPLES_FILE)
    with torch.no_grad():
        right = (network(as_float(images.images)).argmax(dim=1) == images.labels).nonzero().flatten()[:TRIED]
        tried = images.take(right)
        attacked = evaluation_attack("pgd-20", network, eps=EPS, num_classes=3)(as_float(tried.images), tried.labels)
        predictions = network(attacked).argmax(dim=1)
    fallen = [index for index in range(len(right)) if predictions[index] != tried.labels[index]]
    standing = [index for index in range(len(right)) if index not in fallen]
    assert len(fallen) >= 4  # so that both kinds are there
    assert len(standing) >= 4
    shown = fallen[: max(4, 8 - len(standing))]
    expected = [*shown, *standing[: 8 - len(shown)]]
    assert torch.equal(found.clean, tried.images[expected])
    assert torch.equal(found.attacked, attacked[expected])
    assert torch.equal(found.predictions, predictions[expected])
    assert EPS / 2 < float(found.perturbation.abs().max()) <= EPS + 1e-6
    assert 0 <= float(found.attacked.min()) <= float(found.attacked.max()) <= 1
    assert found.settings["eps"] == EPS


@pytest.mark.parametrize(
    ("turned", "expected"),
    [
        ([0] * 20, range(8)),
        ([1] * 20, range(8)),
        ([0] * 10 + [1] * 2, [10, 11, 0, 1, 2, 3, 4, 5]),
        ([1] * 10 + [0], [0, 1, 2, 3, 4, 5, 6, 10]),
        ([0, 1, 1], [1, 2, 0]),
    ],
)
def test_examples_are_filled_up_with_the_other_kind(turned, expected):
    assert _of_both(torch.tensor(turned, dtype=torch.bool)).tolist() == list(expected)


def test_nothing_is_kept_where_no_image_is_classified_right(tmp_path):
    write_network(tmp_path)
    network = load_network(tmp_path).network
    images = load(DataSettings()).test
    wrong = images.__class__(images.images, torch.full_like(images.labels, 9))
    keep_examples(tmp_path, network, wrong, evaluation_attack("pgd-20", network, eps=EPS, num_classes=3), measured={})
    assert not (tmp_path / EXAMPLES_FILE).exists()


def test_the_picture_names_what_the_attack_turned_each_image_into(folder, text):
    found = read_examples(folder / EXAMPLES_FILE)
    changed = int((found.labels != found.predictions).sum())
    assert f"attacked; {changed} then called wrong" in text
    assert "Adversarial examples" in text


@pytest.mark.parametrize(("change", "factor"), [(0.03, 16), (-0.03, 16), (0.0045, 111), (0.3, 1)])
def test_the_change_is_magnified_as_far_as_it_stays_in_range(change, factor, monkeypatch):
    clean = torch.full((2, 3, 8, 8), 100, dtype=torch.uint8)
    labels = torch.tensor([0, 1])
    shown = []
    monkeypatch.setattr(
        "pipeline.report.figures.examples._show", lambda _, pixels: shown.append(torch.from_numpy(pixels))
    )
    drawn = examples_picture(Examples(clean, as_float(clean) + change, labels, labels.flip(0), PGD), "ab")
    assert drawn.alt == "2 images, attacked; 2 then called wrong: a as b, b as a."
    assert "ε = 8/255" in drawn.caption
    assert f"In the change, magnified {factor}x, grey is none." in drawn.caption
    _, _, magnified = shown[:3]  # of the first column: clean, attacked, and the change
    torch.testing.assert_close(magnified, torch.full((8, 8, 3), 0.5 + factor * change))
    assert 0 <= magnified.min() <= magnified.max() <= 1
    assert (factor + 1) * abs(change) > 0.5


def test_a_sweep_of_several_attacks_is_a_curve_of_each():
    one = [accuracy("pgd-20", right, eps=eps) for right, eps in ((150, 0.05), (120, 0.1))]
    drawn = sweep_picture({"mine": one, "bare": []}, {"mine": accuracy("clean", 190)})
    assert drawn.alt.replace("\N{NO-BREAK SPACE}", " ") == "mine: 0 95.0 %, 0.05 75.0 %, 0.1 60.0 %."
    drawn = sweep_picture({"mine": [accuracy("fgsm", 160), *one]}, {"mine": accuracy("clean", 190)})
    assert (
        drawn.alt.replace("\N{NO-BREAK SPACE}", " ")
        == "mine, fgsm: 0 95.0 %, 0.1 80.0 %; mine, pgd-20: 0 95.0 %, 0.05 75.0 %, 0.1 60.0 %."
    )
    assert "right under fgsm, pgd-20, by its radius" in drawn.caption


@pytest.mark.parametrize("damage", ["truncated", "missing", "shape", "not tensors", "no settings"])
def test_damaged_examples_are_named(folder, tmp_path, damage):
    write_network(tmp_path)
    path = tmp_path / EXAMPLES_FILE
    tensors, metadata = load_file(folder / EXAMPLES_FILE), {"attack": json.dumps({"name": "pgd-20"})}
    if damage == "missing":
        del tensors["labels"]
    if damage == "shape":
        tensors["labels"] = tensors["labels"][:-1]
    save_file(tensors, path, metadata=None if damage == "no settings" else metadata)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    if damage == "not tensors":
        path.write_text("half")
    with pytest.raises(RunError, match=f"{EXAMPLES_FILE} (is not what the stages write|cannot be read as safetensors)"):
        run_report.write(tmp_path)


@pytest.mark.parametrize("key", ["classes", "sweep", "checks", "corruptions"])
def test_a_damaged_section_of_robustness_is_named(folder, tmp_path, key):
    content = json.loads((folder / "robustness.json").read_text())
    content["protocols"][0][key] = [{"half": 1}]
    (tmp_path / "robustness.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"robustness\.json is not what evaluate\.py writes"):
        run_report.write(tmp_path)
