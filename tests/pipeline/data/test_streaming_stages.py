"""Stages that stream their images end in the bits of those that keep them."""

import signal

import kills
import pytest

from e2rnas.cli import exit_status
from pipeline.compute.interruption import INTERRUPTED
from tests.support.forks import RETRAIN, SEARCH, assert_same, in_fork, signal_after, with_more
from tests.support.scripts import TINY, TINY_EVALUATION
from tests.support.slowly import slowly


def on_disk(stage, folder, streaming):
    """The stage on the images in a folder instead of the digits."""
    more = ("data=huggingface", f"data.path={folder}", f"data.streaming={streaming}", "data.crop_padding=1")
    return with_more(stage, *more, "data.workers=0", "search.diagnostics.iterations=2")


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """What stages leave of images in memory, by their last: a search, or a retraining with its evaluation."""
    place, done = tmp_path_factory.mktemp("kept"), set()

    def of(*stages):
        for stage in stages:
            if stage not in done:
                status, err = in_fork(on_disk(stage, folder, "false"), place / runs_in(stage))
                assert status == 0, err
                done.add(stage)
        return place / runs_in(stage)

    return of


EVALUATE = kills.Stage(
    "evaluate", (*TINY_EVALUATION, "evaluate.batch_size=16"), ("robustness.json", "examples.safetensors")
)


def runs_in(stage):
    return "search" if stage is SEARCH else "retrain"


@pytest.mark.slow
@pytest.mark.parametrize("stage", [*slowly(SEARCH), RETRAIN], ids=lambda stage: stage.script)
def test_a_stage_that_streams_and_is_stopped_in_its_epochs_ends_in_the_bits_of_one_that_does_neither(
    folder, whole, tmp_path, stage
):
    run, stops = tmp_path / "run", 0
    while True:
        status, err = in_fork(on_disk(stage, folder, "true"), run, signal_after(3, signal.SIGTERM))
        if status == 0:
            break
        assert status == INTERRUPTED, err
        stops += 1
    assert stops >= 2
    assert_same(stage, run, whole(stage))


def test_an_evaluation_that_streams_leaves_the_files_of_one_that_does_not(folder, whole, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("network.json", "network.safetensors"):
        (run / name).write_bytes((whole(RETRAIN, EVALUATE) / name).read_bytes())
    status, err = in_fork(on_disk(EVALUATE, folder, "true"), run)
    assert status == 0, err
    assert_same(EVALUATE, run, whole(RETRAIN, EVALUATE))


@pytest.mark.slow
def test_a_walk_that_streams_leaves_the_files_of_one_that_does_not(folder, tmp_path):
    walk = kills.Stage(
        "pareto",
        (*TINY, "search.epochs=1", "pareto.points=2", "pareto.epochs=1", "pareto.adapt_epochs=1"),
        ("pareto.json", "points/000/point.json", "points/001/genotype.json"),
    )
    for streaming in ("true", "false"):
        status, err = in_fork(on_disk(walk, folder, streaming), tmp_path / streaming)
        assert status == 0, err
    assert_same(walk, tmp_path / "true", tmp_path / "false")


def test_perturbations_of_all_images_are_not_carried_over_where_images_do_not_fit(folder, tmp_path):
    stage = with_more(on_disk(SEARCH, folder, "true"), "attack=carry_over")
    status, err = in_fork(stage, tmp_path / "run")
    assert (status, err.count("\n")) == (exit_status.REFUSED, 1), err
    assert err.startswith("error: attack.carry_over keeps a perturbation of every image in memory")


@pytest.mark.slow
def test_two_processes_that_stream_end_in_the_bits_of_two_that_do_not(folder, tmp_path):
    runs = []
    for streaming in ("true", "false"):
        stage = with_more(on_disk(SEARCH, folder, streaming), "fabric.devices=2", "search.epochs=1", "data.workers=1")
        runs.append(tmp_path / streaming)
        status, err = in_fork(stage, runs[-1])
        assert status == 0, err
    assert_same(SEARCH, *runs)
