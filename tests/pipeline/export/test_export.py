"""What leaves is the network itself: its weights, its graphs and its card, and nothing where a copy differs."""

import hashlib
import json
import os
import re
import runpy
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from attacks import evaluation_attack
from pipeline.data import load
from pipeline.errors import RunError
from pipeline.evaluation.accuracy import Accuracy
from pipeline.export import export as stage
from pipeline.export import graph
from pipeline.export.export import export, find, forms_of
from pipeline.export.model_card import Evaluated, model_card
from pipeline.networks.genotype_reference import load_genotype
from pipeline.networks.network_files import as_safetensors, load_network
from pipeline.settings import Experiment
from search_space import PUBLISHED, Cell, Edge, Genotype
from search_space.cells.genotype import OPERATION_NAMES
from tests.support.exported import DARTS_V2, TRAINING, describe, write_network
from tests.support.run_folders import write_robustness
from tests.support.scripts import ROOT, TINY

EVERYTHING = ("json", "darts", "fair_darts", "svg", "safetensors", "onnx", "torch_export")
FILES = {
    "genotype.json",
    "genotype_darts.py",
    "genotype_fair_darts.py",
    "normal.svg",
    "reduction.svg",
    "network.safetensors",
    "model_card.md",
    "network.onnx",
    "network.pt2",
}
DIGEST = "0" * 64
CLEAN = Accuracy("clean", {}, 38, 40, 0.95, 0.835, 0.986, 1.0)
ATTACKED = Accuracy("pgd-20", {"norm": "Linf", "eps": 8 / 255}, 30, 40, 0.75, 0.598, 0.858, 1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder with everything exported."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    description = write_network(folder)
    write_figures(folder, description, None)
    exported = find(folder, None)
    export(folder, Experiment(export={"images": 40}), exported, forms_of(EVERYTHING, exported), load_test())
    return folder


def write_figures(folder, description, checks):
    """robustness.json, measured on the network in the folder."""
    write_robustness(folder, description, [CLEAN, ATTACKED], checks=checks)


def load_test():
    return load(Experiment().data).test


@pytest.fixture(scope="module")
def images(folder):
    """Clean digits, and as PGD leaves them."""
    network = load_network(folder).network
    clean, labels = next(load_test().batches(256))
    return torch.cat([clean[:20], evaluation_attack("pgd-20", network, eps=0.1)(clean[:20], labels[:20])])


def logits(network, images):
    with torch.no_grad():
        return network(images)


def test_every_file_is_listed_with_its_size_and_hash(folder):
    listed = json.loads((folder / "export.json").read_text())["files"]
    assert set(listed) == FILES
    for name, entry in listed.items():
        content = (folder / name).read_bytes()
        assert entry["bytes"] == len(content)
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    for name in ("network.onnx", "network.pt2"):
        parity = listed[name]["parity"]
        assert parity["batch_sizes"] == [1, 3, 256]
        assert (parity["images"], parity["attack"], parity["labels_that_differ"]) == (40, "pgd-20", 0)
        assert parity["state_sha256"] == load_network(folder).state_sha256
        assert 0 <= parity["largest_logit_difference_on_attacked_images"] <= parity["largest_logit_difference"] <= 1e-4
    assert json.loads((folder / "onnx.json").read_text()) == listed["network.onnx"]["parity"]
    assert not list(folder.glob(".*.tmp"))


def test_onnxruntime_gives_the_logits_of_clean_and_attacked_images_at_any_batch_size(folder, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "network.onnx"), providers=["CPUExecutionProvider"])
    network = load_network(folder).network
    for size in (1, 2, 7, len(images)):
        found = torch.from_numpy(session.run(None, {"images": images[-size:].numpy()})[0])
        torch.testing.assert_close(found, logits(network, images[-size:]), rtol=0, atol=1e-4)


def test_torch_export_gives_the_logits_at_any_batch_size(folder, images):
    network = load_network(folder).network
    loaded = torch.export.load(folder / "network.pt2").module()
    for size in (1, 2, 7, len(images)):
        torch.testing.assert_close(logits(loaded, images[-size:]), logits(network, images[-size:]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("chosen", ["export.images=1", "data.test_limit=1"])
def test_one_image_is_enough_for_graphs_of_any_batch_size(tmp_path, call_script, images, chosen):
    write_network(tmp_path)
    formats = "export.formats=[onnx,torch_export]"
    status, out, err = call_script("export", "data.test_limit=40", f"run={tmp_path}", formats, chosen)
    assert status == 0, err
    assert out.count("logits of 1 image,") == 2
    loaded = torch.export.load(tmp_path / "network.pt2").module()
    for size in (1, 7):
        expected = logits(load_network(tmp_path).network, images[:size])
        torch.testing.assert_close(logits(loaded, images[:size]), expected, rtol=0, atol=1e-5)


def test_each_layout_that_was_written_is_read_back_as_genotype(folder):
    for name in ("genotype.json", "genotype_darts.py", "genotype_fair_darts.py", "genotype_darts.py:genotype"):
        assert load_genotype(str(folder / name)) == ("mine", DARTS_V2)


def test_weights_are_the_same_bytes_each_time_and_carry_what_rebuilds_them(folder):
    trained = load_network(folder)
    contents = {as_safetensors(trained.network, trained.description) for _ in range(5)}
    assert contents == {(folder / "network.safetensors").read_bytes()}
    with safe_open(folder / "network.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()["network"])
    stored = json.loads((folder / "network.json").read_text())
    assert stored["training"].keys() - header["training"].keys() == {"seconds", "environment", "state_sha256"}
    assert {**header, "training": None} == {**stored, "training": None}


CHANGES = {
    "a logit": lambda logits: logits + 2e-4,
    "not a number": lambda logits: logits * float("nan"),
    "a label": lambda logits: logits + 5e-5 * torch.randn(logits.shape).sign(),
    "one image of 256": lambda logits: logits + 2e-4 * (torch.arange(len(logits)) == 255)[:, None],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("form", ["onnx", "torch_export"])
def test_a_copy_that_is_another_function_is_refused_and_nothing_is_written(tmp_path, monkeypatch, change, form):
    write_network(tmp_path)
    exported = find(tmp_path, None)
    if change == "a label":  # all logits are nearly the same: a difference that is allowed can change a label
        for parameter in exported.trained.network.classifier.parameters():
            parameter.data.mul_(1e-6)
    name, _ = graph.GRAPHS[form]

    def write(program, path):
        path.write_bytes(b"a graph")
        return (lambda images: CHANGES[change](logits(exported.trained.network, images))), {}

    monkeypatch.setattr(graph, "GRAPHS", {form: (name, write)})
    monkeypatch.setattr(stage, "trace", lambda network, images: None)
    before = listing(tmp_path)
    with pytest.raises(RunError, match=f"{form} and the network disagree, and nothing was written"):
        export(tmp_path, Experiment(export={"images": 4}), exported, (form, "safetensors", "darts"), load_test())
    assert listing(tmp_path) == before


def listing(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_the_card_holds_sizes_in_both_conventions_and_the_measured_intervals(folder):
    card, cost = (folder / "model_card.md").read_text(), load_network(folder).description.cost()
    for size in ("parameters", "conv_linear_macs", "thop_macs"):
        assert f"| {cost[size]:,} |" in card
    assert "| pgd-20 | 75.0 % | 59.8 to 85.8 | 40 | norm Linf; eps 8/255 |" in card
    assert "| retrain.attack.eps | 8/255 |" in card
    assert "sep\\_conv" not in card.split("## Size")[0]
    for heading in ("Data", "Training", "How to load it", "Intended use and limits", "Licence"):
        assert f"\n## {heading}\n" in card


def test_the_card_leaves_out_figures_of_another_network(tmp_path):
    write_figures(tmp_path, write_network(tmp_path), None)
    card = card_of(tmp_path, training=TRAINING | {"settings": {"seed": 1}})
    assert "no robustness is claimed. The run's robustness.json is of other weights than these" in card
    assert "75.0 %" not in card


@pytest.mark.parametrize(
    "verdict", ["no sign of gradient masking", "robustness not to be believed: square leaves 3.0%"]
)
def test_the_card_has_the_verdict_on_masking_where_there_is_one(tmp_path, verdict):
    description = write_network(tmp_path)
    write_figures(tmp_path, description, None)
    assert "gradient masking" not in card_of(tmp_path)
    (tmp_path / "robustness.json").unlink()
    checks = [{"name": "black box", "passed": "not" not in verdict, "reason": "square leaves 3.0%"}]
    write_figures(tmp_path, description, {"believed": "not" not in verdict, "verdict": verdict, "checks": checks})
    assert f" 8/255 |\n\nChecks for gradient masking: {verdict}.\n" in card_of(tmp_path)


def card_of(folder, **changes):
    """The card that is exported for a network beside what was measured before."""
    write_network(folder, **changes)
    export(folder, Experiment(), find(folder, None), ("safetensors",), None)
    return (folder / "model_card.md").read_text()


def test_the_card_of_a_network_that_was_not_evaluated_claims_nothing():
    assert "Not measured: no robustness is claimed." in model_card(describe(), Evaluated(), DIGEST)


def test_names_cannot_write_markdown_into_the_card():
    card = model_card(describe(name="a](x) <b>|\n# c", class_names=("|", "`")), Evaluated(), DIGEST)
    assert "# a\\](x) \\<b\\>\\|\\\\n\\# c\n" in card
    assert "2 classes (\\|, \\`)" in card


@given(st.text(max_size=30))
def test_a_name_stays_on_one_line_of_the_card(name):
    lines = model_card(describe(name=name), Evaluated(), DIGEST).split("\n")
    assert lines[4].startswith("# ")
    assert lines[6] == "## Architecture"


OTHER = Genotype(*[Cell(((Edge("skip_connect", 0), Edge("sep_conv_3x3", 1)),), (2,))] * 2)
THREE_EDGES = Genotype(*[Cell(((Edge("sep_conv_3x3", 0),) * 3,), (2,))] * 2)
NOISE = Genotype(*[Cell(((Edge("skip_connect", 0), Edge("noise", 1)),), (2,))] * 2)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["export.formats=[nasbench201]"], "this genotype has two of two; this cell fits json, darts, fair_darts"),
        (["export.formats=[pickle]"], "export.formats.0: Input should be 'json', 'darts'"),
        (["export.formats=[]"], "export.formats: expected at least one form, or null, found []"),
        (["genotype=PDARTS"], "holds a network of another cell than genotype=PDARTS; choose another run="),
        (["data.limit=90", "data.test_limit=0"], "data.test_limit"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_script_before_any_work(tmp_path, call_script, overrides, message):
    write_network(tmp_path)
    before = listing(tmp_path)
    status, _, err = call_script("export", f"run={tmp_path}", *overrides)
    assert (status, message in err, err.count("\n")) == (2, True, 1), err
    assert listing(tmp_path) == before


def test_forms_are_those_that_fit_where_none_are_named(tmp_path):
    def fitting(genotype, reference=None):
        if reference is None:
            write_network(tmp_path, genotype)
        return forms_of(None, find(tmp_path, reference))

    assert fitting(None, "DARTS_V2") == ("darts", "fair_darts")
    assert fitting(DARTS_V2) == ("darts", "fair_darts", "safetensors", "onnx", "torch_export")
    assert fitting(THREE_EDGES) == ("fair_darts", "safetensors", "onnx", "torch_export")
    assert fitting(NOISE) == ("darts", "fair_darts", "safetensors")
    assert fitting(Genotype.from_nasbench201("|nor_conv_3x3~0|"))[0] == "nasbench201"


def test_a_network_that_is_random_and_one_that_is_missing_are_refused_as_graphs(tmp_path):
    write_network(tmp_path, NOISE)
    with pytest.raises(RunError, match="the cell holds noise"):
        forms_of(("torch_export",), find(tmp_path, None))
    with pytest.raises(RunError, match=r"has safetensors, onnx: network\.json does not exist; run retrain\.py first"):
        forms_of(("json", "safetensors", "onnx"), find(tmp_path / "none", "DARTS_V2"))


def test_onnx_without_its_packages_is_refused_with_the_extra(tmp_path, monkeypatch):
    write_network(tmp_path)
    monkeypatch.setattr(graph.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=re.escape("needs onnx, onnxscript, onnxruntime: pip install -e '.[onnx]'")):
        forms_of(None, find(tmp_path, None))


def test_the_genotype_and_pictures_of_a_search_are_not_replaced_by_those_of_another_cell(tmp_path):
    (tmp_path / "genotype.json").write_text(OTHER.to_json())
    exported = find(tmp_path, "DARTS_V2")
    for form in ("json", "svg"):
        with pytest.raises(RunError, match="is of another cell"):
            export(tmp_path, Experiment(), exported, (form,), None)
    export(tmp_path, Experiment(), exported, ("darts",), None)
    assert Genotype.from_json((tmp_path / "genotype.json").read_text()) == OTHER


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_cell_is_exported_by_its_name(tmp_path, call_script, name):
    formats = "export.formats=[json,darts,fair_darts,svg]"
    status, out, err = call_script("export", f"run={tmp_path}", f"genotype={name}", formats)
    assert status == 0, err
    assert len(out.splitlines()) == 5
    assert load_genotype(str(tmp_path / "genotype_fair_darts.py"))[1] == PUBLISHED[name].genotype
    assert (tmp_path / "normal.svg").read_text().startswith("<?xml")


def test_cells_are_listed_with_their_published_sizes_and_those_of_this_setting(call_script):
    status, out, err = call_script("cells", *TINY)
    assert status == 0, err
    published, here = (
        {line.split()[0]: line.split()[1:] for line in part.splitlines()[1:] if line.split()}
        for part in out.split("On digits")
    )
    for name, cell in PUBLISHED.items():
        cost = cell.cost
        sizes = ("36", *(f"{size:,}" for size in (cost.parameters, cost.conv_linear_macs, cost.thop_macs)))
        assert tuple(published[name]) == sizes
        assert f"{name}: {cell.paper}" in out
    assert here["DARTS_V2"][:2] == ["4", "2,642"]
    status, out, _ = call_script("cells", *TINY, "genotype=DARTS_V2", "retrain.parameters=30000")
    assert (status, "PDARTS" in out) == (0, False)
    assert abs(int(out.split("On digits")[1].split("DARTS_V2")[1].split()[1].replace(",", "")) - 30_000) < 3000


EXPORTABLE = ("none", *(name for name in OPERATION_NAMES if name != "noise"))
EVERY_OPERATION = Genotype(
    Cell(tuple((Edge(name, 0), Edge("skip_connect", 1)) for name in EXPORTABLE), (2, 5, 9, 12)),
    Cell(
        tuple((Edge(name, 1), Edge("sep_conv_3x3", 2 - (i == 0))) for i, name in enumerate(EXPORTABLE)),
        (7, 3),
    ),
)

ALONE = """
import importlib.abc, runpy, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        ours = ("search_space", "mgda", "attacks", "pipeline", "learned_optimizers", "compiled")
        if name.split(".")[0] in (*ours, "thop"):
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Refuse())
import torch
from safetensors.torch import load_file, save_file
example = runpy.run_path(sys.argv[1])
for folder in sys.argv[2:]:
    network, about = example["load"](folder + "/network.safetensors")
    with torch.no_grad():
        logits = network(load_file(folder + "/images.safetensors")["images"])
    save_file({"logits": logits}, folder + "/found.safetensors")
"""


def test_the_example_classifies_as_the_project_does_without_it(tmp_path):
    for name, genotype, changes in (
        ("darts", DARTS_V2, {}),
        ("amoeba", PUBLISHED["AmoebaNet"].genotype, {"layers": 7}),
        (
            "all",
            EVERY_OPERATION,
            {"in_channels": 2, "mean": (0.3, 0.5), "std": (0.2, 0.4), "image_size": 9, "channels": 3},
        ),
    ):
        description = write_network(tmp_path / name, genotype, **changes)
        size = description.image_size
        save_file(
            {"images": torch.rand(5, description.in_channels, size, size)}, tmp_path / name / "images.safetensors"
        )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folders = [str(tmp_path / name) for name in ("darts", "amoeba", "all")]
    example = str(ROOT / "examples" / "load_exported.py")
    command = [sys.executable, "-I", "-W", "ignore", "-c", ALONE, example, *folders]
    done = subprocess.run(
        command, cwd=elsewhere, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in ("darts", "amoeba", "all"):
        images = load_file(tmp_path / name / "images.safetensors")["images"]
        found = load_file(tmp_path / name / "found.safetensors")["logits"]
        torch.testing.assert_close(found, logits(load_network(tmp_path / name).network, images), rtol=0, atol=1e-6)


@pytest.mark.parametrize("genotype", [NOISE, Genotype.from_nasbench201("|nor_conv_3x3~0|")])
def test_the_example_refuses_what_it_does_not_know(tmp_path, genotype):

    write_network(tmp_path, genotype)
    example = runpy.run_path(str(ROOT / "examples" / "load_exported.py"))
    with pytest.raises(ValueError, match="expected"):
        example["load"](str(tmp_path / "network.safetensors"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "error: expected one file, found 0: python load_exported.py network.safetensors"),
        (["network.safetensors", "more"], "error: expected one file, found 2: python load_exported.py"),
        (["bare.safetensors"], "bare.safetensors: expected a network in the header, found none; export it with"),
        (["none.safetensors"], "none.safetensors: No such file"),
        (["text.safetensors"], "text.safetensors: Error while deserializing header"),
    ],
)
def test_the_example_says_in_one_line_what_it_needs(tmp_path, monkeypatch, names, message):
    save_file({"weight": torch.zeros(2)}, tmp_path / "bare.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    monkeypatch.setattr(sys, "argv", ["load_exported.py", *(str(tmp_path / name) for name in names)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "examples" / "load_exported.py"), run_name="__main__")
    assert message in stop.value.code
    assert "\n" not in stop.value.code


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_cell_goes_through_every_stage(tmp_path, call_script, name):
    tiny = (*TINY, "retrain.epochs=1", "export.images=20", f"run={tmp_path}")
    for script, overrides in (("retrain", [f"genotype={name}"]), ("evaluate", []), ("export", []), ("report", [])):
        status, _, err = call_script(script, *tiny, *overrides)
        assert status == 0, err
    assert (tmp_path / "network.onnx").exists()
    assert (tmp_path / "report.html").exists()
