"""The example that is exported with a network classifies without this project."""

import os
import runpy
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.networks.network_files import load_network
from search_space import PUBLISHED, Cell, Edge, Genotype
from search_space.cells.genotype import OPERATION_NAMES
from tests.support.runs.exported import DARTS_V2, write_network
from tests.support.runs.exported_files import NOISE, logits
from tests.support.scripts import ROOT

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
