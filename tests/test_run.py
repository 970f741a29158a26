"""The run folder: whole files or none, metrics that can be rewound, checkpoints that survive a broken one."""

import json

import pytest
import torch
from lightning_fabric import Fabric

from pipeline.run import (
    Checkpoints,
    MetricLog,
    RunError,
    check_same_settings,
    exclusive,
    make_fabric,
    read_json,
    read_metrics,
    stream_seed,
    write_atomically,
    write_json,
)
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
    with pytest.raises(RunError, match=r"search\.json (does not exist|is not a JSON file)"):
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


def test_metrics_are_rewound_to_the_first_step_and_other_stages_stay(tmp_path):
    with MetricLog(tmp_path, "search", first_step=0) as log:
        for step in range(5):
            log.write(step, {"loss": step / 2, "nested": {"value": step}})
    with MetricLog(tmp_path, "retrain", first_step=0) as log:
        log.write(0, {"loss": 9.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "search", "st')  # a process died here
    with MetricLog(tmp_path, "search", first_step=3) as log:
        log.write(3, {"loss": -1.0})
    assert [(row["step"], row["loss"]) for row in read_metrics(tmp_path, "search")] == [
        (0, 0.0),
        (1, 0.5),
        (2, 1.0),
        (3, -1.0),
    ]
    assert len(read_metrics(tmp_path)) == 5
    assert all(json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())


def test_only_the_first_process_writes_metrics(tmp_path):
    with MetricLog(tmp_path, "search", first_step=0, write=False) as log:
        log.write(0, {"loss": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_the_last_two_checkpoints_are_kept_and_the_newest_readable_one_is_loaded(tmp_path, fabric, capsys):
    checkpoints = Checkpoints(tmp_path, "search", fabric)
    assert checkpoints.load() is None
    for epoch in (1, 2, 3):
        checkpoints.save(epoch, {"epoch": epoch, "alphas": torch.full((2,), float(epoch))})
    files = sorted((tmp_path / "checkpoint").iterdir())
    assert [file.name for file in files] == ["search-00002.ckpt", "search-00003.ckpt"]
    assert checkpoints.load()["epoch"] == 3
    files[1].write_bytes(files[1].read_bytes()[:100])
    assert checkpoints.load()["alphas"].tolist() == [2.0, 2.0]
    assert "search-00003.ckpt cannot be read" in capsys.readouterr().out


class Payload:
    """What a malicious checkpoint would hold."""

    def __reduce__(self):
        return print, ("executed",)


def test_a_checkpoint_that_would_run_code_is_not_loaded(tmp_path, fabric, capsys):
    (tmp_path / "checkpoint").mkdir()
    torch.save({"epoch": 1, "payload": Payload()}, tmp_path / "checkpoint" / "search-00001.ckpt")
    assert Checkpoints(tmp_path, "search", fabric).load() is None
    assert "executed" not in capsys.readouterr().out.splitlines()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_cuda_that_is_not_there_is_refused():
    with pytest.raises(RunError, match="asks for 1 CUDA devices; this machine has 0"):
        make_fabric(FabricSettings(accelerator="cuda"))
