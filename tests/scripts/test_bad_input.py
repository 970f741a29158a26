"""Bad input, through the scripts: one line that says what was expected and found, status 2, and nothing written."""

import re
import shlex
import shutil
import sys

import datasets
import pytest

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.evaluation.evaluate import evaluate
from pipeline.networks.network_files import load_network
from pipeline.search.search import search
from pipeline.training.retrain import retrain
from tests.support.bad_input.files import FILES, OF_FILES
from tests.support.bad_input.measurements import MEASUREMENTS, OF_MEASUREMENTS
from tests.support.bad_input.runs import OF_NETWORKS, OF_RUNS
from tests.support.bad_input.sets import OF_SETS, SETS, make_set
from tests.support.bad_input.settings.composed import SETTINGS
from tests.support.bad_input.settings.unfit import UNFIT
from tests.support.runs.exported import write_network
from tests.support.scripts import IN_ANY_SPACE, TINY_META

CASES = (
    [(script, overrides, says, False, None) for script, overrides, says in SETTINGS]
    + [(script, f"run=run {overrides}", says, False, None) for script, overrides, says in OF_MEASUREMENTS]
    + [(script, overrides, says, True, None) for script, overrides, says in (*OF_SETS, *OF_FILES, *UNFIT)]
    + [(script, f"run={{mine}} {overrides}", says, True, spoil) for script, overrides, says, spoil in OF_NETWORKS]
    + [(script, f"run={{mine}} {overrides}", says, True, spoil) for script, overrides, says, spoil in OF_RUNS]
)
"""Script, overrides, what the line says, whether they come on top of tiny stages, what is done to {mine} before."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Files, networks of other images, and a finished run; data sets are added as they are asked for."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "files").mkdir()
    for name, content in (FILES | MEASUREMENTS).items():
        (folder / "files" / name).write_bytes(content)
    colours = {"in_channels": 3, "mean": (0.5,) * 3, "std": (0.2,) * 3}
    write_network(folder / "colour", data="photographs", **colours)
    write_network(folder / "two", class_names=("0", "1"))
    experiment, mine = compose_experiment(IN_ANY_SPACE), folder / "mine"
    data, fabric = load(experiment.data), make_fabric(experiment.fabric)
    genotype = search(mine, experiment, data, fabric)
    retrain(mine, experiment, data, fabric, name="mine", genotype=genotype)
    evaluate(mine, experiment, data, fabric, load_network(mine))
    return folder


@pytest.fixture
def alone(shared, tmp_path, monkeypatch):
    """An empty working directory, from which modules of FILES are found, and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(shared / "files")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", shared / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize(
    ("script", "overrides", "says", "tiny", "spoil"),
    [  # what is alike stands side by side: each third one speaks for its neighbours, which `make slow` runs
        pytest.param(*case, marks=() if index % 3 == 0 else pytest.mark.slow) for index, case in enumerate(CASES)
    ],
    ids=[f"{c[0]} {c[1]} {c[2]}"[:90] for c in CASES],
)
def test_bad_input_is_one_line_that_says_why_and_nothing_is_written(
    shared, alone, tmp_path, call_script, script, overrides, says, tiny, spoil
):
    if "{mine}" in overrides:
        shutil.copytree(shared / "mine", tmp_path / "mine")
    if spoil is not None:
        spoil(tmp_path / "mine")
    before = content_of(tmp_path)
    status, out, err = call_script(script, *given(script, tiny), *(filled(shared, tmp_path, overrides)))
    assert (status, out) == (2, ""), err
    assert re.fullmatch(r"error: [^\n]+\n", err), err
    assert re.search(".*".join(map(re.escape, says.split(" ... "))), err), err
    assert content_of(tmp_path) == before


def given(script, tiny):
    """What comes before the overrides of a case."""
    if not tiny:
        return ()
    return (*(TINY_META if script == "meta_train" else IN_ANY_SPACE), "run=run")


def filled(shared, tmp_path, overrides):
    """Overrides with paths in the place of {names}; a data set is made where it is named first."""
    for name in re.findall(r"\{sets\}/([^']+)", overrides):
        if name in SETS and not (shared / "sets" / name).exists():
            make_set(shared / "sets" / name, name)
    own = {"mine": tmp_path / "mine"}
    places = {name: shared / name for name in ("files", "sets", "colour", "two")} | own
    for name, path in places.items():
        overrides = overrides.replace(f"{{{name}}}", str(path))
    return shlex.split(overrides)


def content_of(folder):
    """Every path below a folder, with its bytes where it is a file."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}
