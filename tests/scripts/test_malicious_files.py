"""Files that mean harm, in every place where one is read: nothing in them runs or leaves its folder."""

import io
import json
import pickle
import shutil
import struct
import zipfile
from dataclasses import asdict, replace

import kills
import pytest
import torch

from pipeline.compute.fabric import make_fabric
from pipeline.errors import RunError
from pipeline.runs.checkpoints import Checkpoints, digest
from pipeline.runs.files import write_atomically, write_json
from pipeline.runs.metrics import read_metrics
from pipeline.runs.same_settings import plain
from pipeline.settings import FabricSettings
from pipeline.studies.pareto.front import Front, FrontCell
from tests.support.bad_input.networks import Planted, what_is_there
from tests.support.runs.folders import accuracy, write_network, write_search
from tests.support.scripts import TINY, TINY_META
from tests.support.slowly import slowly

CHECKPOINT = "checkpoint/search-00000002-{}.ckpt"


def pickled():
    return pickle.dumps(Planted())


def saved_by_torch():
    buffer = io.BytesIO()
    torch.save({"settings": {}, "epoch": Planted()}, buffer)
    return buffer.getvalue()


def compressed(size=10**9):
    """A gigabyte of zeros in a megabyte, in the form that torch.save gives."""
    buffer, plain = io.BytesIO(), io.BytesIO()
    torch.save({"weights": torch.zeros(4)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in source.infolist():
            if entry.filename.endswith("data/0"):
                with archive.open(entry.filename, "w", force_zip64=True) as file:
                    for _ in range(size // 10**7):
                        file.write(bytes(10**7))
            else:
                archive.writestr(entry.filename, source.read(entry))
    return buffer.getvalue()


def outside():
    """An archive whose parts name places outside of it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../ran", b"")
        archive.writestr("/tmp/ran", b"")  # noqa: S108 - it is not written
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content", [pickled, saved_by_torch, *slowly(compressed), outside, lambda: b"\x80\x04" + b"(" * 10**6]
)
def test_a_checkpoint_that_means_harm_is_passed_over_with_a_line(tmp_path, monkeypatch, capsys, content):
    monkeypatch.chdir(tmp_path)
    harmful = content()
    write_atomically(tmp_path / CHECKPOINT.format(digest(harmful)), harmful)  # the name that it would have
    before = what_is_there(tmp_path)
    checkpoints = Checkpoints(tmp_path, "search", make_fabric(FabricSettings(accelerator="cpu")))
    assert checkpoints.load() is None
    err = capsys.readouterr().err
    assert err.startswith(f"warning: {tmp_path / 'checkpoint'}")
    assert err.count("\n") == 1
    assert what_is_there(tmp_path) == before


def test_a_script_starts_anew_beside_a_checkpoint_that_means_harm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = saved_by_torch()
    write_atomically(tmp_path / "run" / CHECKPOINT.format(digest(content)), content)
    log = tmp_path / "err"
    status = kills.end_of(kills.start("search", [*TINY, "search.epochs=1", f"run={tmp_path / 'run'}"], err=log))
    assert (status, log.read_text().count("\n")) == (0, 1)
    assert "cannot be read" in log.read_text()
    assert not (tmp_path / "ran").exists()


def header_without_end(path):
    path.write_bytes(struct.pack("<Q", 2**40) + b"{")


def deep_header(path):
    header = b'{"__metadata__":' + b"[" * 200_000
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def shape_without_end(path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


def a_pickle(path):
    path.write_bytes(pickled())


def torch_saved(path):
    path.write_bytes(saved_by_torch())


@pytest.mark.parametrize("spoil", [a_pickle, torch_saved, header_without_end, deep_header, shape_without_end])
@pytest.mark.parametrize(
    ("script", "name", "overrides"),
    [
        ("search", "theta.safetensors", ("weight_optimizer=learned", "weight_optimizer.theta={folder}/{name}")),
        ("report", "alphas.safetensors", ()),
        ("report", "examples.safetensors", ()),
        ("evaluate", "network.safetensors", ()),
    ],
)
def test_tensors_that_mean_harm_are_one_line(
    finished, tmp_path, monkeypatch, call_script, script, name, overrides, spoil
):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(tmp_path)
    spoil(folder / name)
    run, settings = (tmp_path / "new", TINY) if script == "search" else (folder, ())
    filled = [override.format(folder=folder, name=name) for override in overrides]
    status, _, err = call_script(script, *settings, f"run={run}", *filled)
    assert (status, err.count("\n")) == (2, 1), err
    assert str(folder / name) in err
    assert not (tmp_path / "ran").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    write_search(folder)
    write_network(folder)
    return folder


BAD_JSON = ["[" * 200_000, '{"settings": ' * 50_000, "[]", '{"settings": 3}', '{"__reduce__": ["os.mkdir", "ran"]}']


@pytest.mark.parametrize("content", BAD_JSON, ids=range(len(BAD_JSON)))
@pytest.mark.parametrize(
    ("script", "name", "overrides"), [("search", "search.json", TINY), ("meta_train", "theta.json", TINY_META)]
)
def test_results_that_mean_harm_are_one_line(tmp_path, call_script, script, name, overrides, content):
    (tmp_path / name).write_text(content)
    status, _, err = call_script(script, *overrides, f"run={tmp_path}")
    assert (status, err.count("\n")) == (2, 1), err
    assert err.startswith(f"error: {tmp_path / name} is not ")


@pytest.mark.parametrize("row", ["[]", "3", '{"stage": "search"}', '{"step": 1}', '{"stage": "retrain", "step": "x"}'])
def test_rows_that_no_stage_writes_are_refused(tmp_path, row):
    (tmp_path / "metrics.jsonl").write_text(f'{{"stage": "meta_train", "step": 0, "loss": 1}}\n{row}\n')
    with pytest.raises(RunError, match=r"is not what the stages write: line 2: "):
        read_metrics(tmp_path)


def test_a_row_that_is_too_deep_is_refused(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"stage": "meta_train", "step": 0, "loss": 1}\n' + "[" * 200_000)
    with pytest.raises(RunError, match=r"line 2: lists and objects lie more than"):
        read_metrics(tmp_path)


CONFIGURATIONS = {
    "a callback": (
        "hydra: {callbacks: {mine: {_target_: os.mkdir, path: ran}}}",
        "hydra.callbacks: a configuration may",
    ),
    "a handler of logs": (
        "hydra: {job_logging: {root: {handlers: [mine]}, handlers: {mine: {(): os.mkdir, path: ran}}}}",
        "hydra.job_logging.root: a configuration may",
    ),
    "a handler of logs beside an empty root": (
        "hydra: {job_logging: {version: 1, root: {}, handlers: {mine: {(): os.mkdir, path: ran}}}}",
        "hydra.job_logging.root: a configuration may",
    ),
    "overrides that nobody checked": (
        "hydra: {sweeper: {params: {hydra.job_logging: default}}}",
        "hydra.sweeper.params: expected what is varied on the command line, where it is checked",
    ),
    "where workers look for modules": (
        "hydra: {job: {env_set: {PYTHONPATH: here}}}",
        "hydra.job.env_set: a configuration may",
    ),
    "a launcher": ("hydra: {launcher: {_target_: os.mkdir}}", "hydra.launcher._target_: a configuration may"),
    "a target": ("data: {_target_: os.mkdir, path: ran}", "unknown key data._target_"),
    "a tag of Python": ("seed: !!python/object/apply:os.mkdir [ran]", "could not determine a constructor for the tag"),
    "an interpolation": ("seed: ${eval:1}", "seed: Unsupported interpolation type eval"),
    "deep YAML": ("seed: " + "[" * 5_000, "a configuration is nested too deeply"),
}


@pytest.mark.parametrize("what", CONFIGURATIONS)
@pytest.mark.parametrize(
    "flag", [pytest.param((), id="alone"), pytest.param(("-m",), id="in a sweep", marks=pytest.mark.slow)]
)
def test_a_configuration_cannot_run_code(tmp_path, monkeypatch, call_script, what, flag):
    content, message = CONFIGURATIONS[what]
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "harmful.yaml").write_text(f"# @package _global_\n{content}\n")
    monkeypatch.chdir(tmp_path)
    path = f"hydra.searchpath=[file://{tmp_path}]"
    status, _, err = call_script("search", *TINY, path, "experiment=harmful", f"run={tmp_path / 'run'}", *flag)
    assert (status, err.count("\n")) == (2, 1), err[-2000:]
    assert err.startswith(f"error: {message}")
    assert {file.name for file in tmp_path.iterdir()} <= {"experiment", "multirun"}  # where Hydra notes what was asked


def test_code_that_a_sweep_would_run_in_a_later_job_is_found_before_the_first(tmp_path, call_script):
    status, _, err = call_script(
        "search", *TINY, "-m", f"run={tmp_path / 'run'}", "+hydra.callbacks.x._target_=os.mkdir,os.rmdir"
    )
    assert (status, err) == (2, "error: hydra.callbacks: a configuration may not name code that Hydra would run\n")


@pytest.mark.parametrize("flag", ["--experimental-rerun=x.pickle", "--config-dir=x", "-cn=x", "-m=1"])
def test_flags_that_read_configurations_from_elsewhere_are_refused(call_script, flag):
    status, _, err = call_script("search", flag)
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith(f"error: unknown flag {flag}; expected one of")


def test_names_of_points_in_a_front_lead_nowhere_else(finished, tmp_path, call_script):
    """A report reads pareto.json; the names in it are shown, and no file is looked for by them."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (tmp_path / "points" / "secret").mkdir(parents=True)
    (tmp_path / "points" / "secret" / "genotype.json").write_text("hidden words")
    measured = [accuracy(attack, 3) for attack in ("clean", "pgd-20", "pgd-20")]
    point = FrontCell("../../points/secret", {}, 2000, 10_000, *measured)
    others = {"largest": {"parameters": 9000, "macs": 90_000}, "macs_convention": "conv_linear_macs"}
    front = Front.of([point], [replace(point, name="../secret")], settings={"seed": 0}, retrained=True, **others)
    write_json(folder / "pareto.json", plain(asdict(front)))
    status, _, err = call_script("report", f"run={folder}")
    assert (status, err) == (0, "")
    page = (folder / "report.html").read_text()
    assert "points/secret" in page
    assert "hidden words" not in page
    assert 'href="../../points/secret' not in page
