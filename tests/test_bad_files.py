"""A file that is not what it should be is one clear line, on whichever way it comes in, and nothing is written."""

import json
import os
import pickle
import shutil
import struct

import pytest
import torch
from conftest import TINY
from exported import DARTS_V2, write_network
from run_folders import accuracy, write_robustness
from safetensors.torch import load, load_file, save, save_file

from pipeline.errors import RunError
from pipeline.evaluation.stored_evaluation import read_robustness
from pipeline.export.export import export, find
from pipeline.networks.genotype_reference import load_genotype
from pipeline.networks.network_files import load_network
from pipeline.report.run_reader import read_run
from pipeline.settings import Experiment

WEIGHTS, DESCRIPTION = "network.safetensors", "network.json"
FIRST = "cells.0.inputs.0.1.weight"


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


def of_bytes(name, change):
    """Change the bytes of a file."""

    def spoil(folder):
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return spoil


def of_tensors(change):
    """Change the tensors of the weights."""
    return of_bytes(WEIGHTS, lambda content: save(change(load(content))))


def of_json(name, change):
    """Change the content of a JSON file, in place."""

    def spoil(folder):
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return spoil


def instead(name, put):
    """Put something else in the place of a file."""

    def spoil(folder):
        (folder / name).unlink()
        put(folder / name)

    return spoil


def of_genotype(change):
    return of_json(DESCRIPTION, lambda content: change(content["genotype"]))


class Planted:
    """An object that creates a file when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def header_of(size):
    return of_bytes(WEIGHTS, lambda content: struct.pack("<Q", size) + content[8:])


NETWORKS = {
    "truncated weights": (of_bytes(WEIGHTS, lambda content: content[:-100]), WEIGHTS, "cannot be read"),
    "weights cut in the header": (of_bytes(WEIGHTS, lambda content: content[:4]), WEIGHTS, "cannot hold"),
    "empty weights": (of_bytes(WEIGHTS, lambda content: b""), WEIGHTS, "cannot hold"),
    "a header beyond the file": (header_of(2**60), WEIGHTS, "cannot be read"),
    "a header that is too short": (header_of(3), WEIGHTS, "cannot be read"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), WEIGHTS, "cannot be read"),
    "a folder as weights": (instead(WEIGHTS, lambda path: path.mkdir()), WEIGHTS, "cannot be read"),
    "weights that lead to themselves": (
        instead(WEIGHTS, lambda path: path.symlink_to(path)),
        WEIGHTS,
        "cannot be read",
    ),
    "pickled weights": (
        of_bytes(WEIGHTS, lambda content: pickle.dumps((Planted(), b"0" * len(content)))),
        WEIGHTS,
        "cannot be read",
    ),
    "weights by torch.save": (
        instead(WEIGHTS, lambda path: torch.save({FIRST: torch.zeros(9000)}, path)),
        WEIGHTS,
        "cannot be read",
    ),
    "a wrong shape": (
        of_tensors(lambda tensors: tensors | {FIRST: tensors[FIRST].flatten()}),
        WEIGHTS,
        f"1 tensors differ, the first is {FIRST} (expected fractions (4, 12, 1, 1), found fractions (48,))",
    ),
    "whole numbers as weights": (
        of_tensors(lambda tensors: tensors | {FIRST: tensors[FIRST].long()}),
        WEIGHTS,
        f"the first is {FIRST} (expected fractions (4, 12, 1, 1), found torch.int64 (4, 12, 1, 1))",
    ),
    "a missing tensor": (
        of_tensors(lambda tensors: {name: tensor for name, tensor in tensors.items() if name != FIRST}),
        WEIGHTS,
        f"the first is {FIRST} (expected fractions (4, 12, 1, 1), found None)",
    ),
    "a tensor too many": (
        of_tensors(lambda tensors: tensors | {"more": torch.zeros(1)}),
        WEIGHTS,
        "the first is more (expected None, found fractions (1,))",
    ),
    "weights that are not numbers": (
        of_tensors(lambda tensors: tensors | {FIRST: tensors[FIRST] * float("nan")}),
        WEIGHTS,
        f"holds values that are not finite, the first in {FIRST}",
    ),
    "weights without end": (
        of_tensors(lambda tensors: tensors | {FIRST: tensors[FIRST] / 0.0}),
        WEIGHTS,
        f"holds values that are not finite, the first in {FIRST}",
    ),
    "no JSON": (of_bytes(DESCRIPTION, lambda content: content[:-20]), DESCRIPTION, "is not a JSON file"),
    "no text": (of_bytes(DESCRIPTION, lambda content: b"\xff\xfe" + content), DESCRIPTION, "is not text in UTF-8"),
    "deep JSON": (of_bytes(DESCRIPTION, lambda content: b"[" * 100_000), DESCRIPTION, "is not a JSON file"),
    "a folder as description": (
        instead(DESCRIPTION, lambda path: path.mkdir()),
        DESCRIPTION,
        "cannot be read: expected a file, found a folder",
    ),
    "a list": (of_bytes(DESCRIPTION, lambda content: b"[]"), DESCRIPTION, "Input should be"),
    "a field too many": (of_json(DESCRIPTION, lambda d: d.update(width=3)), DESCRIPTION, "width: Extra inputs"),
    "a missing field": (of_json(DESCRIPTION, lambda d: d.pop("layers")), DESCRIPTION, "layers: Field required"),
    "a wrong type": (of_json(DESCRIPTION, lambda d: d.update(layers="3x")), DESCRIPTION, "layers: Input should be a"),
    "another version": (of_json(DESCRIPTION, lambda d: d.update(version=2)), DESCRIPTION, "version: Input should be"),
    "absurd channels": (
        of_json(DESCRIPTION, lambda d: d.update(channels=10**9)),
        DESCRIPTION,
        "channels: Input should be less than or equal to 4096",
    ),
    "more weights than the file has": (
        of_json(DESCRIPTION, lambda d: d.update(channels=4096, layers=4096)),
        WEIGHTS,
        "parameters of network.json: it has",
    ),
    "classes without number": (
        of_json(DESCRIPTION, lambda d: d.update(class_names=["a"])),
        DESCRIPTION,
        "class_names: Tuple should have at least 2 items",
    ),
    "means of other channels": (
        of_json(DESCRIPTION, lambda d: d.update(mean=[0.1, 0.2])),
        DESCRIPTION,
        "mean has 2 values for images of 1 channels",
    ),
    "a standard deviation of 0": (of_json(DESCRIPTION, lambda d: d.update(std=[0])), DESCRIPTION, "must be positive"),
    "a mean that is not a number": (
        of_json(DESCRIPTION, lambda d: d.update(mean=[float("nan")])),
        DESCRIPTION,
        "is not a JSON file: NaN is no number of JSON",
    ),
    "an unknown operation": (
        of_genotype(lambda g: g["normal"]["nodes"][0].__setitem__(0, ["conv_9x9", 0])),
        DESCRIPTION,
        "normal cell: unknown operation 'conv_9x9'; known are",
    ),
    "a cell that cannot be built": (
        of_genotype(lambda g: g["normal"]["nodes"][0].__setitem__(0, ["skip_connect", 2])),
        DESCRIPTION,
        "node 2 reads state 2; only states 0 to 1 come before it",
    ),
    "a network that sees no image": (
        of_genotype(lambda g: [g[name].update(nodes=[[["noise", 0]]], concat=[2]) for name in ("normal", "reduction")]),
        DESCRIPTION,
        "leads through none or noise",
    ),
}


def what_is_there(folder):
    return sorted(str(path) for path in folder.rglob("*"))


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
