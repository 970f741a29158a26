"""What leaves is the network itself: its weights, its graphs and its card, and nothing where a copy differs."""

import hashlib
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from pipeline.errors import RunError
from pipeline.export import export as stage
from pipeline.export import graph
from pipeline.export.export import export, find
from pipeline.export.model_card import Evaluated, model_card
from pipeline.networks.genotype_reference import load_genotype
from pipeline.networks.network_files import as_safetensors, load_network
from pipeline.settings import Experiment
from tests.support.cells.genotypes import SMALL_GENOTYPE
from tests.support.runs.exported import TRAINING, describe, write_network
from tests.support.runs.exported_files import listing, load_test, logits, write_figures
from tests.support.slowly import slowly

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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chosen", "forms"),
    [
        ("export.images=1", ["torch_export"]),
        *slowly(*((chosen, ["onnx", "torch_export"]) for chosen in ("export.images=1", "data.test_limit=1"))),
    ],
)
def test_one_image_is_enough_for_graphs_of_any_batch_size(tmp_path, call_script, images, chosen, forms):
    write_network(tmp_path, SMALL_GENOTYPE)
    formats = f"export.formats=[{','.join(forms)}]"
    status, out, err = call_script("export", "data.test_limit=40", f"run={tmp_path}", formats, chosen)
    assert status == 0, err
    assert out.count("logits of 1 image,") == len(forms)
    loaded = torch.export.load(tmp_path / "network.pt2").module()
    for size in (1, 7):
        expected = logits(load_network(tmp_path).network, images[:size])
        torch.testing.assert_close(logits(loaded, images[:size]), expected, rtol=0, atol=1e-5)


def test_each_layout_that_was_written_is_read_back_as_genotype(folder):
    for name in ("genotype.json", "genotype_darts.py", "genotype_fair_darts.py", "genotype_darts.py:genotype"):
        assert load_genotype(str(folder / name)) == ("mine", SMALL_GENOTYPE)


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
    write_network(tmp_path, SMALL_GENOTYPE)
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
