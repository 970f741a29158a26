"""Memory and speed of sets that stay on disk, against the same images in memory.

    python benchmarks/streaming.py                                # 20,000 and 200,000 images: half an hour on two cores
    python benchmarks/streaming.py --images 2000 4000 --steps 5   # minutes

Images of noise are written as PNG into parquet shards of a temporary folder and loaded as any other local set. Each way
is a process of its own: a pass through the shuffled batches of training, or some steps of retraining a small network.
Memory is that of the process and of those that decode for it, looked at every 0.2 s in /proc: held is anonymous and
shared memory (a page of several processes counts once), and with files counts the pages of mapped files too, Arrow's
among them, which the system takes back when it needs them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import datasets
import numpy as np
import record
import torch
from PIL import Image

from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.runs.progress import progress_bar
from pipeline.settings import DataSettings, Experiment, FabricSettings, RetrainSettings
from pipeline.training.network_trainer import Retraining
from search_space import Genotype

MIB = 2**20
CLASSES, SIDE, TESTED = 10, 32, 100  # images of the test split
IN_WORDS = "in memory"
SHARD = 10_000  # images
BATCH = 256
INTERVAL = 0.2  # seconds between two looks at memory
IN_MEMORY, NOTHING, PASS, STEPS = -1, "loaded", "a pass", "retraining"
WORKERS = (IN_MEMORY, 0, 2)
BYTES_EACH = 3 * 8 * 2  # label, row and place in the order of each image, in the whole set and in its parts
NODE = [["skip_connect", 0], ["skip_connect", 1]]
SMALL = Genotype.from_darts({"normal": NODE, "normal_concat": [2], "reduce": NODE, "reduce_concat": [2]})


@dataclass(frozen=True)
class Way:
    """What a process does with a set of so many images.

    workers: that decode; IN_MEMORY where images are kept.  steps: of retraining.
    """

    work: str
    images: int
    workers: int
    steps: int

    @property
    def where(self) -> str:
        """In words."""
        if self.workers == IN_MEMORY:
            return IN_WORDS
        return f"streamed, {self.workers} worker(s)" if self.workers else "streamed, in one process"


@dataclass(frozen=True)
class Found:
    """Peaks in MiB, and images a second from the first batch on; seconds: until it came."""

    held: float
    with_files: float
    rate: float
    seconds: float


def write_set(folder: Path, images: int) -> None:
    """Parquet shards of noise, one at a time, and a test split."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(CLASSES)})
    parts = [("train", shard, min(SHARD, images - first)) for shard, first in enumerate(range(0, images, SHARD))]
    datasets.disable_progress_bars()
    with progress_bar(f"write {images:,}", images) as bar:
        for name, shard, number in (*parts, ("test", 0, TESTED)):
            generator = np.random.default_rng([number, shard])
            content = {"image": list(_encoded(generator, number)), "label": generator.integers(0, CLASSES, number)}
            datasets.Dataset.from_dict(content, features=features).to_parquet(folder / f"{name}-{shard:05}.parquet")
            bar.advance(name, by=number if name == "train" else 0)


def _encoded(generator: np.random.Generator, number: int) -> Iterator[dict[str, bytes | None]]:
    for _ in range(number):
        file, noise = io.BytesIO(), generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, "png", compress_level=1)
        yield {"bytes": file.getvalue(), "path": None}


def point(folder: Path, way: Way) -> tuple[float, float]:
    """Images a second and seconds to the first batch, in this process."""
    started = time.perf_counter()
    settings = DataSettings(
        source="huggingface", path=str(folder), streaming=way.workers != IN_MEMORY, workers=max(way.workers, 0)
    )
    data = load(settings)
    if way.work == NOTHING:
        return 0.0, time.perf_counter() - started
    if way.work == PASS:
        return _timed((len(labels) for _, labels in data.train.shuffled_batches(BATCH, seed=0)), started)
    recipe = RetrainSettings(channels=1, layers=3, recipe="standard", auxiliary_weight=0, batch_size=BATCH)
    fabric = make_fabric(FabricSettings(accelerator="cpu"))
    training = Retraining(Experiment(data=settings, retrain=recipe), data, fabric, SMALL)
    training.start_epoch()
    return _timed(islice(_steps(training), way.steps), started)


def _steps(training: Retraining) -> Iterator[int]:
    for images, labels in training.batches():
        training.step(images, labels)
        yield len(images)


def _timed(steps: Iterator[int], started: float) -> tuple[float, float]:
    next(steps)
    first = time.perf_counter()
    return sum(steps) / (time.perf_counter() - first), first - started


def measured(folder: Path, way: Way) -> Found:
    """The same in a process of its own, with its memory."""
    arguments = ["--point", json.dumps(asdict(way)), "--folder", str(folder)]
    process = subprocess.Popen(  # noqa: S603 - this very file
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    held = with_files = 0.0
    while process.poll() is None:
        now = [_memory(pid) for pid in _family(process.pid)]
        held = max(held, sum(own for own, _ in now) / MIB)
        with_files = max(with_files, sum(both for _, both in now) / MIB)
        time.sleep(INTERVAL)
    out, err = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{way} failed: {err.strip().splitlines()[-1:]}")
    found = Found(held, with_files, *json.loads(out.splitlines()[-1]))
    print(f"{way.work}, {way.images:,}, {way.where}: {found}", flush=True)
    return found


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(below for child in children for below in _family(int(child)))]


def _memory(pid: int) -> tuple[int, int]:
    """Proportional bytes of a process: anonymous and shared, and these with mapped files. 0 of one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0, 0
    sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    return sizes["Pss_Anon"] + sizes["Pss_Shmem"], sizes["Pss"]


def measure(folder: Path, sizes: list[int], steps: int, repeats: int) -> dict[Way, Found]:
    """Every way; those of the smallest set in turn, `repeats` times: their medians, and the highest peaks."""
    found: dict[Way, Found] = {}
    for images in sorted(sizes):
        place = folder / f"{images}"
        write_set(place, images)
        way = Way(NOTHING, images, 0, 0)
        found[way] = measured(place, way)
        ways = [Way(work, images, workers, steps) for work in (PASS, STEPS) for workers in WORKERS]
        rounds = [[measured(place, way) for way in ways] for _ in range(repeats if images == min(sizes) else 1)]
        found |= {way: _summary(list(each)) for way, each in zip(ways, zip(*rounds, strict=True), strict=True)}
    return found


def _summary(found: list[Found]) -> Found:
    median = np.median([(each.rate, each.seconds) for each in found], axis=0).tolist()
    return Found(max(each.held for each in found), max(each.with_files for each in found), *median)


def report(found: dict[Way, Found], repeats: int) -> str:
    """What grows with the number of images, what streaming costs, and the table."""
    least, most = min(way.images for way in found), max(way.images for way in found)
    header = ["work", "images", "where", "held MiB", "with files MiB", "images a second", "s to the first batch"]
    small, large = (
        {(way.work, way.where): each for way, each in found.items() if way.images == n} for n in (least, most)
    )
    growths = [f"- {', '.join(key)}: {large[key].held - small[key].held:+,.0f} MiB held" for key in small]
    ratios = [
        f"{work}, {where} {each.rate / small[work, IN_WORDS].rate:.2g}"
        for (work, where), each in small.items()
        if work != NOTHING and where != IN_WORDS
    ]
    said = [
        f"Decoded, {least:,} images are {_decoded(least):,.0f} MiB and {most:,} are {_decoded(most):,.0f}; labels, "
        f"rows and orders of the larger set are at most {BYTES_EACH * most / MIB:,.0f} MiB. From one set to the other:",
        "\n".join(growths),
        f"Speed on {least:,} images, streamed over in memory, medians of {repeats} in turn: {'; '.join(ratios)}.",
    ]
    rows = [_row(way, each) for way, each in found.items()]
    return "\n\n".join([_how(), *said, record.table(header, rows)])


def _row(way: Way, found: Found) -> list[str]:
    rate = f"{found.rate:,.0f}" if found.rate else ""
    sizes = [f"{found.held:,.0f}", f"{found.with_files:,.0f}"]
    work = f"{way.work}, {way.steps} steps" if way.work == STEPS else way.work
    return [work, f"{way.images:,}", way.where, *sizes, rate, f"{found.seconds:.1f}"]


def _how() -> str:
    """The last part of this file's text."""
    return f"Images of{(__doc__ or '').partition('Images of')[2]}".strip()


def _decoded(images: int) -> float:
    return images * 3 * SIDE**2 / MIB


def main() -> None:
    """Write the sets, measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", nargs="+", type=int, default=[20_000, 200_000])
    parser.add_argument("--steps", type=int, default=30, help="of retraining, of 256 images each")
    parser.add_argument("--repeats", type=int, default=3, help="of each way on the smallest set")
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--point", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.point is not None:
        print(json.dumps(point(arguments.folder, Way(**json.loads(arguments.point)))))
        return
    if min(arguments.images) < 2 * BATCH:
        parser.error(f"--images needs at least {2 * BATCH} for two batches")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_HOME"] = folder  # where datasets puts its Arrow files
        found = measure(Path(folder), arguments.images, arguments.steps, arguments.repeats)
    record.write("streaming", "Sets that stay on disk", report(found, arguments.repeats), [], arguments.results)


if __name__ == "__main__":
    main()
