"""Images that stay on disk: the same batches, statistics and results as in memory, in bounded memory."""

import os
import re
import signal
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

import datasets
import numpy as np
import pytest
import streaming as bench
import torch
from PIL import Image

from e2rnas.cli import exit_status
from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import StreamedImages, UnreadableImageError, loading, split, statistics
from pipeline.data import load as load_data
from pipeline.data.table import ImageTable
from pipeline.search.bilevel_search import BilevelSearch
from pipeline.settings import DataSettings
from pipeline.training.network_trainer import Retraining
from search_space import PUBLISHED
from tests.support.scripts import SMALL_CELL, TINY


def load(folder, **settings):
    return load_data(DataSettings(source="huggingface", path=str(folder), **settings))


@pytest.fixture(scope="module")
def kept(folder):
    return load(folder, streaming=False, limit=200)


@pytest.fixture(scope="module")
def streamed(folder):
    """Decoded by one process that all tests share."""
    return load(folder, streaming=True, workers=1, limit=200)


def pids(images):
    return set(images.decoder._pool._processes)


def assert_same_batches(found, expected):
    found, expected = list(found), list(expected)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        for tensor, wanted in zip(one, other, strict=True):
            assert tensor.dtype == wanted.dtype
            assert torch.equal(tensor, wanted)


@pytest.mark.parametrize("workers", [0, 1])
def test_streamed_batches_are_those_in_memory_bit_for_bit(folder, kept, streamed, workers):
    data = streamed if workers else load(folder, streaming=True, workers=0, limit=200)
    assert isinstance(data.train, StreamedImages)
    assert (data.in_channels, data.image_size, data.class_names) == (1, 8, kept.class_names)
    assert_same_batches(data.train.batches(30), kept.train.batches(30))
    for share in ((0, 1), (1, 2)):
        assert_same_batches(data.train.shuffled_batches(32, 7, share), kept.train.shuffled_batches(32, 7, share))
    for part, wanted in zip(*(split(part.train, 0.3, 5, key="part") for part in (data, kept)), strict=True):
        assert_same_batches(part.shuffled_batches(16, 1), wanted.shuffled_batches(16, 1))
        assert torch.equal(part.take(torch.tensor([3, 1, 3])).kept().images, wanted.images[[3, 1, 3]])
    assert data.train.take(torch.arange(0)).kept().images.shape == (0, 1, 8, 8)


def test_the_images_are_those_that_pil_reads(folder, streamed):
    rows = datasets.load_dataset(str(folder), split="train")
    for row, image in zip(streamed.train.rows[:5].tolist(), streamed.train.kept().images[:5], strict=True):
        assert np.array_equal(np.asarray(rows[row]["img"]), image[0].numpy())


def test_two_passes_at_once_do_not_disturb_each_other_and_share_their_processes(kept, streamed):
    before = torch.get_rng_state()
    passes = [streamed.train.shuffled_batches(20, seed) for seed in (1, 2)]
    wanted = [kept.train.shuffled_batches(20, seed) for seed in (1, 2)]
    next(streamed.train.shuffled_batches(20, 3))  # a pass that is given up
    first = pids(streamed.train)
    assert_same_batches((a + b for a, b in zip(*passes, strict=True)), (a + b for a, b in zip(*wanted, strict=True)))
    assert pids(streamed.train) == pids(streamed.train.take(torch.arange(5))) == first
    assert len(first) == 1
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_that_goes_on_reads_no_image_that_is_skipped(folder, kept, monkeypatch):
    images, seen = load(folder, streaming=True, workers=0, limit=200).train, []
    decoded = ImageTable.decoded
    monkeypatch.setattr(ImageTable, "decoded", lambda self, rows: seen.extend(rows) or decoded(self, rows))
    rest = images.read(islice(images.shuffled_indices(30, 4), 4, None))
    wanted = kept.train.read(islice(kept.train.shuffled_indices(30, 4), 4, None))
    assert_same_batches(rest, wanted)
    skipped = torch.cat(list(islice(images.shuffled_indices(30, 4), 4)))
    assert len(seen) == 60
    assert set(seen).isdisjoint(images.rows[skipped].tolist())


@pytest.mark.parametrize("kind", [BilevelSearch, Retraining])
def test_an_epoch_of_a_stage_that_goes_on_reads_no_image_of_the_steps_that_are_done(folder, monkeypatch, kind):
    data, seen = load(folder, streaming=True, workers=0, limit=200), []
    experiment = compose_experiment([*TINY, "data=huggingface", f"data.path={folder}", SMALL_CELL])
    genotype = [PUBLISHED["PDARTS"].genotype] if kind is Retraining else []
    training = kind(experiment, data, make_fabric(experiment.fabric), *genotype)
    state = training if kind is Retraining else training.state
    expected = list(training.batches())
    assert len(expected) == state.steps_per_epoch > 4
    decoded = ImageTable.decoded
    monkeypatch.setattr(ImageTable, "decoded", lambda self, rows: seen.append(len(rows)) or decoded(self, rows))
    state.steps_of_epoch = state.steps_per_epoch - 2
    assert len(list(training.batches())) == 2
    assert len(seen) <= 5  # of weights and alphas two batches each, and the one at which an end is seen


@pytest.mark.parametrize("counted", [50_000, 60])
def test_statistics_are_exact_and_the_same_streamed_and_in_memory(folder, kept, streamed, monkeypatch, counted):
    monkeypatch.setattr(statistics, "MOST_COUNTED", counted)
    found = statistics.mean_and_deviation(streamed.train)
    assert found == statistics.mean_and_deviation(kept.train)
    pixels = kept.train.images.numpy() / 255
    chosen = statistics._counted(200)
    assert len(chosen) == min(counted, 200)
    assert found[0] == pytest.approx([pixels[chosen].mean()], abs=1e-12)
    assert found[1] == pytest.approx([pixels[chosen].std()], abs=1e-12)
    assert found[0] == pytest.approx([pixels.mean()], abs=0.03)


def test_a_set_is_streamed_where_it_is_large_and_never_kept_where_memory_does_not_hold_it(folder, monkeypatch):
    assert not isinstance(load(folder).train, StreamedImages)
    monkeypatch.setattr(loading, "MOST_KEPT_BYTES", 100 * 64)
    data = load(folder)
    assert (type(data.train), type(data.test)) == (StreamedImages, loading.Images)  # of 400 and of 100 images
    monkeypatch.setattr(loading, "_physical_memory", lambda: 400 * 64 * 2 - 1)
    with pytest.raises(ValueError, match=r"data\.streaming=false: 400 images of \[1, 8, 8\] are 0\.0 GiB.*=auto"):
        load(folder, streaming=False)


def test_streaming_is_of_sets_on_disk():
    with pytest.raises(ValueError, match=r"data\.streaming=true reads a Hugging Face set; digits are in memory"):
        DataSettings(streaming=True)


def spoil(folder, kind):
    """A folder of 12 images, the ninth of which is not like the others."""
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            place = folder / part / name
            place.mkdir(parents=True)
            for index in range(6):
                Image.fromarray(np.full((9, 9), 20 * index, dtype=np.uint8)).save(place / f"{index}.png")
    bad = folder / "train" / "dog" / "2.png"
    if kind == "cut":
        bad.write_bytes(bad.read_bytes()[:-30])
    elif kind == "text":
        bad.write_text("no image")
    else:
        Image.new(*{"fractions": ("F", (9, 9)), "smaller": ("L", (9, 8))}[kind]).save(bad, "TIFF")


WRONG = {
    "cut": "cannot be decoded: ",
    "text": "cannot be decoded: expected PNG, JPEG, ",
    "fractions": "has mode F; expected grey or RGB of 8 bits",
    "smaller": "is [1, 8, 9], channels, height and width; expected [1, 9, 9]",
}


@pytest.mark.parametrize("kind", WRONG)
def test_an_image_that_is_not_like_the_others_is_named_when_it_is_read_and_when_it_is_kept(tmp_path, kind):
    spoil(tmp_path, kind)
    message = re.escape(f"image 8 of split train ({tmp_path}/train/dog/2.png) {WRONG[kind]}")
    with pytest.raises(UnreadableImageError, match=message):
        load(tmp_path, streaming=False)
    with pytest.raises(UnreadableImageError, match=message):
        load(tmp_path, streaming=True, workers=0).statistics()


def test_an_image_that_is_lost_between_two_epochs_is_named(tmp_path):
    spoil(tmp_path, "smaller")
    data = load(tmp_path, streaming=True, workers=0)
    (tmp_path / "train" / "cat" / "0.png").unlink()
    with pytest.raises(UnreadableImageError, match=r"image 0 .*0\.png\) cannot be read: .* does not exist"):
        next(data.train.batches(4))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stage_ends_in_one_line_that_names_the_image(tmp_path, call_script, workers):
    spoil(tmp_path / "images", "smaller")
    status, _, err = call_script(
        "retrain",
        *TINY[2:],
        "data=huggingface",
        f"data.path={tmp_path / 'images'}",
        "data.streaming=true",
        f"data.workers={workers}",
        SMALL_CELL,
        "retrain.batch_size=4",
        f"run={tmp_path / 'run'}",
    )
    assert (status, err.count("\n")) == (exit_status.REFUSED, 1), err
    assert err.startswith(f"error: image 8 of split train ({tmp_path}/images/train/dog/2.png) is [1, 8, 9]")
    assert not (tmp_path / "run").exists()


def test_a_process_that_decodes_and_dies_is_one_line(folder):
    images = load(folder, streaming=True, workers=1, limit=200).train
    batches = images.batches(10)
    next(batches)
    for pid in pids(images):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(BrokenProcessPool) as caught:
        list(batches)
    status, line = exit_status.ending(caught.value, "")
    assert (status, line.count("\n")) == (exit_status.STOPPED, 0)
    assert line.startswith("stopped: a worker process died")


def test_the_report_of_the_benchmark_says_what_was_planted():
    found = {}
    for images, held in ((2000, 300.0), (20_000, 400.0)):
        found[bench.Way(bench.NOTHING, images, 0, 0)] = bench.Found(10, 20, 0, 1)
        for work in (bench.PASS, bench.STEPS):
            for workers, rate in ((bench.IN_MEMORY, 1000), (0, 500), (2, 250)):
                grown = held if workers == bench.IN_MEMORY else 300.0
                found[bench.Way(work, images, workers, 5)] = bench.Found(grown, 500, rate, 1)
    text = bench.report(found, 1)
    assert "- a pass, in memory: +100 MiB held\n- a pass, streamed, in one process: +0 MiB held" in text
    assert "a pass, streamed, in one process 0.5; a pass, streamed, 2 worker(s) 0.25; retraining, streamed" in text
    assert "| retraining, 5 steps | 20,000 | in memory | 400 | 500 | 1,000 | 1.0 |" in text


def test_the_memory_of_a_process_grows_by_what_it_holds():
    before, size = bench._memory(os.getpid())[0], 2**28
    held = np.ones(size, dtype=np.uint8)
    found = bench._memory(os.getpid())[0] - before
    assert 0.9 * size < found < 1.1 * size  # what earlier tests leave to be freed is a few MiB
    assert held[-1] == 1
    assert bench._family(os.getpid())[0] == os.getpid()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_batches_that_go_to_a_device_are_those_in_memory(kept, streamed):
    device = torch.device("cuda")
    found = streamed.train.to(device).shuffled_batches(32, 7)
    assert_same_batches(found, kept.train.to(device).shuffled_batches(32, 7))
    assert torch.equal(streamed.train.to(device).kept().images, kept.train.images.to(device))
