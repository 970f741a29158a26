"""The Python API: every documented example runs, in run folders that the command line goes on with."""

import doctest
import inspect
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
import rich
import torch

import e2rnas
from attacks import EVALUATION_ATTACKS
from e2rnas import arrays, evaluation, overrides, results, sharing, stored, zoo
from e2rnas.cli import command_line
from tests.support.images.digit_arrays import digits
from tests.support.scripts import ROOT
from tests.support.small_settings import SMALLER

DOCUMENTED = (ROOT / "docs" / "reference" / "python_api.md").read_text()


EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENTED, re.DOTALL)


(README_LINES,) = re.findall(r"```python\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)


def without_a_graph(patch):
    """Let an export in ONNX check the network beside itself; what ONNX computes is tested in tests/pipeline/export."""

    def write(network, path):
        path.write_bytes(b"a graph")
        return torch.no_grad()(network), {"opset": 18, "onnxruntime": "none"}

    patch.setattr("pipeline.export.export.trace", lambda network, images: network)
    patch.setattr("pipeline.export.graph.GRAPHS", {"onnx": ("network.onnx", write)})


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the README's lines define, in a current folder of their own, with small settings and budgets."""
    with pytest.MonkeyPatch.context() as patch:
        without_a_graph(patch)
        patch.chdir(tmp_path_factory.mktemp("api"))
        composed = overrides.settings_of
        patch.setattr(overrides, "settings_of", lambda name, given: composed(name, [*SMALLER.get(name, ()), *given]))
        small = {
            "autoattack": replace(EVALUATION_ATTACKS["autoattack"], steps=2, queries=10),
            "pgd-20": replace(EVALUATION_ATTACKS["pgd-20"], steps=3),
        }
        patch.setattr("attacks.evaluation_attacks.EVALUATION_ATTACKS", {**EVALUATION_ATTACKS, **small})
        found = dict(zip(("train_x", "train_y", "test_x", "test_y"), digits(), strict=True))
        exec(README_LINES, found)  # noqa: S102 - our own
        yield found


def test_the_readme_and_the_package_show_the_same_ten_lines():
    assert README_LINES in e2rnas.__doc__


def test_the_ten_lines_search_train_measure_and_export(names):
    run = names["run"]
    assert set(run.genotype.cells) == {"normal", "reduction"}
    assert 8e3 <= run.cost["parameters"] <= 11e3
    assert run.history[-1]["objectives"]["robustness"] > 0
    found = run.evaluate(["pgd-20", "autoattack"], eps=0.1)
    assert [row.attack for row in found] == ["clean", "pgd-20", "autoattack"]
    assert found["autoattack"].accuracy <= found["clean"].accuracy
    assert {"pgd-20", "contrast-5"} <= set(str(found).split())
    assert (run.folder / "network.onnx").is_file()


def test_the_examples_of_the_documentation_run_in_their_order(names, capsys):
    for example in EXAMPLES:
        exec(example, names)  # noqa: S102 - our own
    assert capsys.readouterr().out
    assert names["page"].is_file()
    assert names["published"].genotype == names["genotype"]
    assert {path.name for path in names["files"].paths} == {"genotype_darts.py", "network.safetensors", "model_card.md"}
    assert sum(point.on_front for point in names["front"].points) >= 1
    assert names["comparison"].page.parent == Path("runs/compared")
    assert {cell.kind for cell in names["comparison"].cells} == {"searched", "random"}
    assert names["theta"].is_file()
    assert len(names["table"]) == 2


def test_the_command_line_goes_on_with_a_run_from_python(names, call_script):
    status, out, err = call_script(
        "evaluate", f"run={names['run'].folder}", *SMALLER["evaluate"], "evaluate.attacks=[fgsm]"
    )
    assert (status, "fgsm" in out) == (0, True), err


def test_a_run_folder_that_was_moved_still_has_its_images(names, tmp_path):
    folder = names["run"].folder.resolve()
    moved = folder.rename(tmp_path / "moved")
    try:
        assert len(e2rnas.open_run(moved).evaluate(["fgsm"], eps=0.1)) == 2
    finally:
        moved.rename(folder)


def test_results_show_themselves_as_text_and_in_a_notebook(names):
    genotype = e2rnas.published_cell("DARTS_V2")
    assert "  3 = sep_conv_3x3(0) + sep_conv_3x3(1)\n  4 = sep_conv_3x3(1) + skip_connect(0)\n" in str(genotype)
    assert str(e2rnas.Run(Path("runs/darts"))).startswith("runs/darts: ")
    assert names["run"]._repr_html_().count("<img ") == 2
    assert names["run"].evaluate(["pgd-20"], eps=0.1)._repr_html_().split()[:2] == ["<pre>", "clean"]


def test_a_network_measured_alone_has_the_figures_of_its_run(names):
    network = e2rnas.load_network("runs/mine")
    assert not network.training
    alone = e2rnas.evaluate(network, names["data"], attacks=["pgd-20"], eps=0.1)
    in_run = names["run"].evaluate(["pgd-20"], eps=0.1)
    assert [row.right_by_class for row in alone] == [row.right_by_class for row in in_run]


@pytest.mark.parametrize("module", [arrays, command_line, evaluation, results, sharing, stored, zoo])
def test_the_examples_in_docstrings_run(module, monkeypatch):
    monkeypatch.setattr(rich.get_console(), "_file", io.StringIO())  # progress is not what an example prints
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 0


def test_every_function_of_the_api_says_what_it_does_and_is_documented():
    for name in e2rnas.__all__:
        assert getattr(e2rnas, name).__doc__
        if inspect.isfunction(getattr(e2rnas, name)):
            assert re.search(rf"\b(e2rnas\.)?{name}\(", DOCUMENTED), name
    assert set(e2rnas.__all__) <= set(dir(e2rnas))
