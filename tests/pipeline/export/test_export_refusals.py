"""What cannot be exported is refused before any work; published cells, by name and in a list."""

import re

import pytest

from pipeline.errors import RunError
from pipeline.export import graph
from pipeline.export.export import export, find, forms_of
from pipeline.networks.genotype_reference import load_genotype
from pipeline.settings import Experiment
from search_space import PUBLISHED, Cell, Edge, Genotype
from tests.support.runs.exported import DARTS_V2, write_network
from tests.support.runs.exported_files import NOISE, listing
from tests.support.scripts import TINY
from tests.support.slowly import slowly

OTHER = Genotype(*[Cell(((Edge("skip_connect", 0), Edge("sep_conv_3x3", 1)),), (2,))] * 2)


THREE_EDGES = Genotype(*[Cell(((Edge("sep_conv_3x3", 0),) * 3,), (2,))] * 2)


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
    for form in ("json", "svg", "pdf"):
        with pytest.raises(RunError, match="is of another cell"):
            export(tmp_path, Experiment(), exported, (form,), None)
    export(tmp_path, Experiment(), exported, ("darts",), None)
    assert Genotype.from_json((tmp_path / "genotype.json").read_text()) == OTHER


@pytest.mark.parametrize("name", ["DARTS_V2", "NASNet", *slowly(*sorted(PUBLISHED.keys() - {"DARTS_V2", "NASNet"}))])
def test_a_published_cell_is_exported_by_its_name(tmp_path, call_script, name):
    formats = "export.formats=[json,darts,fair_darts,svg,pdf]"
    status, out, err = call_script("export", f"run={tmp_path}", f"genotype={name}", formats)
    assert status == 0, err
    assert len(out.splitlines()) == 7
    assert load_genotype(str(tmp_path / "genotype_fair_darts.py"))[1] == PUBLISHED[name].genotype
    assert (tmp_path / "normal.svg").read_text().startswith("<?xml")
    assert (tmp_path / "reduction.pdf").read_bytes().startswith(b"%PDF")


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


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_cell_goes_through_every_stage(tmp_path, call_script, name):
    tiny = (*TINY, "retrain.epochs=1", "export.images=20", f"run={tmp_path}")
    for script, overrides in (("retrain", [f"genotype={name}"]), ("evaluate", []), ("export", []), ("report", [])):
        status, _, err = call_script(script, *tiny, *overrides)
        assert status == 0, err
    assert (tmp_path / "network.onnx").exists()
    assert (tmp_path / "report.html").exists()
