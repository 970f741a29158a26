"""The run folder: whole files or none, metrics that can be rewound, checkpoints that survive a broken one."""

import errno
import json
import os
import random
import subprocess

import pytest
import torch
from lightning_fabric import Fabric

from pipeline.compute.fabric import make_fabric
from pipeline.compute.seeds import stream_seed
from pipeline.errors import RunError
from pipeline.runs.checkpoints import Checkpoints
from pipeline.runs.files import read_json, write_atomically, write_json
from pipeline.runs.metrics import MetricLog, read_metrics
from pipeline.runs.run_folder import exclusive
from pipeline.runs.same_settings import check_same_settings
from pipeline.settings import FabricSettings


@pytest.fixture(scope="module")
def fabric():
    return Fabric(accelerator="cpu", devices=1)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, "", "{", "\xff"])
def test_a_json_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "search.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(RunError, match=r"search\.json (does not exist|is not a JSON file|is not text in UTF-8)"):
        read_json(path)


def test_seeds_of_different_purposes_differ_and_are_stable():
    seeds = {stream_seed(0, "search", epoch, rank) for epoch in range(50) for rank in range(4)}
    assert len(seeds) == 200
    assert stream_seed(0, "search", 1) == stream_seed(0, "search", 1) != stream_seed(1, "search", 1)


def test_a_second_holder_of_a_folder_is_refused(tmp_path):
    with (
        exclusive(tmp_path, "retrain"),
        pytest.raises(RunError, match="cannot search: another process is at work in"),
        exclusive(tmp_path, "search"),
    ):
        pass
    with exclusive(tmp_path, "search"):
        pass


def test_changed_settings_are_listed():
    check_same_settings({"a": {"b": 1}}, {"a": {"b": 1}}, "runs/x")
    with pytest.raises(RunError, match=r"a\.b was 1, is 2; c was None, is 3"):
        check_same_settings({"a": {"b": 1}}, {"a": {"b": 2}, "c": 3}, "runs/x")


def test_a_setting_that_was_not_there_yet_is_as_by_default():
    older, newer = {"retrain": {"layers": 3}}, {"retrain": {"layers": 3, "label_smoothing": 0.0}}
    check_same_settings(older, newer, "runs/x")
    check_same_settings(newer, older, "runs/x")
    with pytest.raises(RunError, match=r"retrain\.label_smoothing was 0\.0, is 0\.1"):
        check_same_settings(older, {"retrain": {"layers": 3, "label_smoothing": 0.1}}, "runs/x")


def test_metrics_are_rewound_to_the_first_step_and_other_stages_stay(tmp_path):
    with MetricLog(tmp_path, "meta_train", first_step=0) as log:
        for step in range(5):
            log.write(step, {"loss": step / 2, "nested": {"value": step}})
    with MetricLog(tmp_path, "retrain", first_step=0) as log:
        log.write(0, {"epoch": 0, "training_loss": 9.0, "training_accuracy": 0.1})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "meta_train", "st')  # a process died here
    with MetricLog(tmp_path, "meta_train", first_step=3) as log:
        log.write(3, {"loss": -1.0})
    assert [(row["step"], row["loss"]) for row in read_metrics(tmp_path, "meta_train")] == [
        (0, 0.0),
        (1, 0.5),
        (2, 1.0),
        (3, -1.0),
    ]
    assert len(read_metrics(tmp_path)) == 5
    assert all(json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())


def test_a_figure_that_is_not_finite_is_named_and_not_written(tmp_path):
    with (
        pytest.raises(FloatingPointError, match=r"search step 3: mgda\.norm is nan"),
        MetricLog(tmp_path, "search", first_step=0) as log,
    ):
        log.write(3, {"loss": 1.0, "mgda": {"norm": float("nan")}})
    assert read_metrics(tmp_path) == []


def test_only_the_first_process_writes_metrics(tmp_path):
    with MetricLog(tmp_path, "search", first_step=0, write=False) as log:
        log.write(0, {"loss": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_the_last_two_checkpoints_are_kept_and_the_newest_readable_one_is_loaded(tmp_path, fabric, capsys):
    checkpoints = Checkpoints(tmp_path, "search", fabric)
    assert checkpoints.load() is None
    for step in (1, 2, 10):
        checkpoints.save(step, {"step": step, "alphas": torch.full((2,), float(step))})
    files = sorted((tmp_path / "checkpoint").iterdir())
    assert [file.name.rpartition("-")[0] for file in files] == ["search-00000002", "search-00000010"]
    assert checkpoints.load()["step"] == 10
    files[1].write_bytes(files[1].read_bytes()[:100])
    assert checkpoints.load()["alphas"].tolist() == [2.0, 2.0]
    err = capsys.readouterr().err
    assert (
        err
        == f"warning: {files[1]} cannot be read (its content is not what was written); going back to the one before\n"
    )
    files[0].write_bytes(b"")
    assert checkpoints.load() is None
    assert capsys.readouterr().err.endswith("starting from the beginning\n")


def test_a_checkpoint_is_named_by_its_sha256(tmp_path, fabric):
    Checkpoints(tmp_path, "search", fabric).save(3, {"epoch": 1})
    (file,) = (tmp_path / "checkpoint").iterdir()
    digest = subprocess.run(["sha256sum", file], capture_output=True, text=True, check=True).stdout
    assert file.name == f"search-00000003-{digest[:16]}.ckpt"


@pytest.mark.parametrize("change", ["a flipped bit", "a cut"])
def test_a_checkpoint_that_was_changed_anywhere_is_never_loaded(tmp_path, fabric, capsys, change):
    checkpoints = Checkpoints(tmp_path, "search", fabric)
    for step in (1, 2):
        checkpoints.save(step, {"step": step, "weights": torch.arange(500.0), "names": ["a", "b"]})
    path = max((tmp_path / "checkpoint").iterdir())
    whole = path.read_bytes()
    generator = random.Random(0)  # noqa: S311 - places to spoil
    for _ in range(30):
        content, place = bytearray(whole), generator.randrange(len(whole))
        if change == "a cut":
            del content[place:]
        else:
            content[place] ^= 1 << generator.randrange(8)
        path.write_bytes(content)
        assert checkpoints.load()["step"] == 1
        assert f"{path} cannot be read" in capsys.readouterr().err
    path.write_bytes(whole)
    assert checkpoints.load()["step"] == 2


def test_a_state_that_is_not_finite_is_no_checkpoint(tmp_path, fabric):
    checkpoints = Checkpoints(tmp_path, "search", fabric)
    checkpoints.save(1, {"weights": {"a": [torch.ones(2)]}})
    with pytest.raises(FloatingPointError, match=r"search after 2 steps: state\.weights\.a\.0 is not finite"):
        checkpoints.save(2, {"weights": {"a": [torch.tensor([1, float("nan")])]}})
    assert checkpoints.load()["weights"]["a"][0].tolist() == [1, 1]
    assert len(list((tmp_path / "checkpoint").iterdir())) == 1


def test_a_write_without_room_names_its_file_and_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_json(path, {"a": 2})
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_cuda_that_is_not_there_is_refused():
    with pytest.raises(RunError, match="asks for 1 CUDA devices; this machine has 0"):
        make_fabric(FabricSettings(accelerator="cuda"))
