"""A file that is not what it should be is one clear line, on whichever way it comes in, and nothing is written."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from pipeline.errors import RunError
from pipeline.evaluation.stored_evaluation import read_robustness
from pipeline.export.export import export, find
from pipeline.networks.genotype_reference import load_genotype
from pipeline.networks.network_files import load_network
from pipeline.report.run_reader import read_run
from pipeline.settings import Experiment
from tests.support.bad_input.networks import NETWORKS, Planted, what_is_there
from tests.support.runs.exported import DARTS_V2, write_network
from tests.support.runs.folders import accuracy, write_robustness
from tests.support.scripts import TINY


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good") / "mine"
    write_network(folder)
    (folder / "genotype.json").write_text(DARTS_V2.to_json())
    return folder


@pytest.fixture
def folder(good, tmp_path):
    shutil.copytree(good, tmp_path / "mine")
    return tmp_path / "mine"


@pytest.mark.parametrize("what", NETWORKS)
def test_a_bad_network_is_one_line_that_names_its_file(folder, monkeypatch, what):
    spoil, name, message = NETWORKS[what]
    spoil(folder)
    monkeypatch.chdir(folder)
    before = what_is_there(folder)
    with pytest.raises(RunError) as caught:
        load_network(folder)
    text = str(caught.value)
    assert text.startswith(str(folder / name))
    assert message in text
    assert "\n" not in text
    assert what_is_there(folder) == before


GOOD_TEXT = DARTS_V2.to_json()
GENOTYPES = {
    "genotype.json": [
        (b"", "a genotype file holds JSON; this is not"),
        (b"{}", 'expected a JSON object with "format": "genotype"'),
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (pickle.dumps(Planted()), "is not text in UTF-8"),
        (b"[" * 100_000, "a genotype file holds JSON"),
        (GOOD_TEXT.replace("max_pool_3x3", "conv_9x9").encode(), "unknown operation 'conv_9x9'"),
        (GOOD_TEXT.replace("0\n", "9\n", 1).encode(), "reads state 9; only states"),
        (b'{"format": "genotype", "version": 1, "nasbench201": "|none~1|"}', "node 1 reads state 1"),
        (b'{"format": "genotype", "version": 1, "normal": {}, "reduction": {}}', "expected an object with the keys"),
    ],
    "genotypes.py": [
        (b"", "there is none"),
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (b"import os\nos.mkdir('ran')\n", "there is none"),
        (b"x = Genotype(normal=[os.mkdir('ran')])", "nothing is executed"),
        (b"x = \x00", "expected Python text"),
    ],
    "genotype_nasbench201.txt": [
        (b"|none~0", "expected a string such as"),
        (b"|conv_9x9~0|", "unknown operation 'conv_9x9'"),
    ],
}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [(name, content, message) for name, cases in GENOTYPES.items() for content, message in cases],
    ids=lambda value: None if isinstance(value, str) else "",
)
def test_a_bad_genotype_is_one_line_that_names_its_file_and_is_not_run(tmp_path, monkeypatch, name, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError) as caught:
        load_genotype(str(tmp_path / name))
    text = str(caught.value)
    assert text.startswith(str(tmp_path / name))
    assert message in text
    assert "\n" not in text
    assert what_is_there(tmp_path) == [str(tmp_path / name)]


@pytest.mark.parametrize("reference", ["", "x" * 5000, "no\x00thing", "/", "folder.py:NAME", "|", "DARTS_V2:DARTS_V2"])
def test_what_is_no_genotype_at_all_is_refused(reference):
    with pytest.raises(RunError, match=r"^genotype=") as caught:
        load_genotype(reference)
    assert "\n" not in str(caught.value)


def of_rows(*rows):
    """robustness.json with other rows."""

    def text(content):
        content["protocols"][0]["attacks"] = list(rows)
        return json.dumps(content)

    return text


def of_row(**changes):
    """robustness.json with one row changed."""

    def text(content):
        content["protocols"][0]["attacks"][0] |= changes
        return json.dumps(content)

    return text


ROBUSTNESS = {
    "no JSON": (lambda _: "{", "is not a JSON file"),
    "another object": (lambda _: "{}", "is not what evaluate.py writes"),
    "a list": (lambda _: "[]", "is not what evaluate.py writes"),
    "rows of numbers": (of_rows(3), r"protocols.0.attacks.0: Input should be"),
    "rows with other keys": (of_rows({"attack": "pgd"}), "protocols.0.attacks.0.settings: Field required"),
    "a figure that is a word": (of_row(right="many"), "right: Input should be a valid integer.*found 'many'"),
    "a name that is a number": (of_row(attack=7), "attack: Input should be a valid string.*found 7"),
    "settings that are a list": (of_row(settings=[1]), "settings: Input should be an object"),
    "a key too many": (of_row(command="rm"), "command: Unexpected keyword argument"),
}


@pytest.mark.parametrize("what", ROBUSTNESS)
def test_bad_figures_are_one_line_that_names_their_file(folder, what):
    text, message = ROBUSTNESS[what]
    path = folder / "robustness.json"
    write_robustness(folder, load_network(folder).description, [accuracy("clean", 190)])
    path.write_text(text(json.loads(path.read_text())))
    before = what_is_there(folder)
    for read in (read_figures, read_run, lambda folder: export_weights(folder)):
        with pytest.raises(RunError) as caught:
            read(folder)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)
    assert [name for name in what_is_there(folder) if not name.endswith(".lock")] == before
    with pytest.raises(RunError, match=message):
        read_figures(folder)


def read_figures(folder):
    return read_robustness(folder / "robustness.json")


def export_weights(folder):
    return export(folder, Experiment(), find(folder, None), ("safetensors",), None)


def test_alphas_that_are_truncated_or_of_several_shapes_are_one_line_of_the_report(folder):
    path = folder / "alphas.safetensors"
    save_file({"epoch_00001": torch.zeros(1, 2, 3), "epoch_00002": torch.zeros(1, 2, 3)}, path)
    read_run(folder)
    whole = path.read_bytes()
    for content in (whole[:-3], b"", save(load_file(path) | {"epoch_00003": torch.zeros(1)})):
        path.write_bytes(content)
        with pytest.raises(RunError) as caught:
            read_run(folder)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("script", ["retrain", "export", "cells"])
def test_every_script_that_takes_a_genotype_refuses_code_in_its_file(tmp_path, call_script, script):
    (tmp_path / "mine.py").write_text(f"__import__('os').mkdir({str(tmp_path / 'ran')!r})\n")
    status, out, err = call_script(script, *TINY, f"run={tmp_path / 'run'}", f"genotype={tmp_path / 'mine.py'}:A")
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {tmp_path / 'mine.py'}: expected Python text with NAME = Genotype")
    assert what_is_there(tmp_path) == [str(tmp_path / "mine.py")]
