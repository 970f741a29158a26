"""What a second process is worth: a search step and a retraining step with 1 and 2 processes of one thread each.

    python benchmarks/processes.py                              # four minutes on two idle cores
    python benchmarks/processes.py --sizes demo --rounds 3      # half a minute

The whole batch is the same in all ways, which take turns, `rounds` times after one that does not count; the processes
start each together, and its time is that of the last to end. Half a batch in one process alone, and in both at once
without any exchange, say what bounds the gain: small batches, what the cores share, or the exchange. One more round
with a barrier before each all-reduce parts waiting for the other process from the all-reduce itself.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import record
import torch
from lightning_fabric import Fabric
from synthetic import ONE_THREAD, Size, random_data, random_search
from torch import Tensor, distributed

from pipeline.settings import AttackSettings, Experiment, FabricSettings, RetrainSettings
from pipeline.training.network_trainer import Retraining
from search_space import PUBLISHED

PROCESSES = 2
SIZES = {
    "demo": Size(channels=4, layers=3, batch=64, image_size=8, steps=2),
    "16 channels, 32x32": Size(channels=16, layers=8, batch=16, image_size=32, steps=2),
}
ONE, HALF, APART, SHARED, SYNCHRONISED = (
    "one process",
    "half the batch, one process",
    "half the batch each, no exchange",
    "two processes",
    "two processes, synchronised statistics",
)
WAYS = (ONE, HALF, APART, SHARED, SYNCHRONISED)
IN_BOTH = (APART, SHARED, SYNCHRONISED)
EXCHANGING = (SHARED, SYNCHRONISED)
Step = Callable[[], object]


@dataclass
class Exchange:
    """The all-reduces of one step, as the first process sees them. waiting: for the other one; both in seconds."""

    calls: int = 0
    size: int = 0
    waiting: float = 0.0
    reducing: float = 0.0


@dataclass
class Measured:
    """One stage at one size. seconds: of each way, one a round.  exchange: of the ways that have one."""

    batch: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    exchange: dict[str, Exchange] = field(default_factory=dict)

    def median(self, way: str) -> float:
        """Seconds of a way."""
        return statistics.median(self.seconds[way])

    def parts(self) -> dict[str, float]:
        """What is added to half the time of one process, in seconds, from reason to reason."""
        whole, half, apart, shared, synchronised = map(self.median, WAYS)
        return {
            "smaller batches": half - whole / PROCESSES,
            "what the cores share": apart - half,
            "exchange and waiting": shared - apart,
            "synchronised statistics": synchronised - shared,
        }


def search_step(size: Size, where: FabricSettings, fabric: Fabric) -> Step:
    """Both objectives in alpha, then the weights."""
    search = random_search(size, where, fabric)
    train, valid = next(search.batches())
    return lambda: search.step(train, valid)


def retraining_step(size: Size, where: FabricSettings, fabric: Fabric) -> Step:
    """PGD adversarial training of DARTS_V2."""
    recipe = RetrainSettings(
        channels=size.channels,
        layers=size.layers,
        batch_size=size.batch,
        auxiliary_weight=0,
        drop_path=0,
        held_back=0.5,
        attack=AttackSettings(steps=size.steps),
    )
    experiment = Experiment(retrain=recipe, fabric=where)
    training = Retraining(experiment, random_data(size), fabric, PUBLISHED["DARTS_V2"].genotype)
    training.start_epoch()
    images, labels = next(training.batches())
    return lambda: training.step(images, labels)


STAGES = {"search step": search_step, "retraining step": retraining_step}


def ways(stage: Callable[[Size, FabricSettings, Fabric], Step], size: Size, both: Fabric) -> dict[str, Step]:
    """Each way of doing a step, ready to be run in this process."""
    alone = Fabric(accelerator="cpu", devices=1)
    two = FabricSettings(threads=1, devices=PROCESSES)
    half = stage(replace(size, batch=size.batch // PROCESSES), ONE_THREAD, alone)
    return {
        ONE: stage(size, ONE_THREAD, alone),
        HALF: half,
        APART: half,
        SHARED: stage(size, two, both),
        SYNCHRONISED: stage(size, two.model_copy(update={"synchronised_statistics": True}), both),
    }


def seconds_of(way: str, run: Step, both: Fabric) -> float:
    """From a common start until the last process has ended; a way for one process is run by the first."""
    both.barrier()
    started = time.perf_counter()
    if both.is_global_zero or way in IN_BOTH:
        run()
    both.barrier()
    return time.perf_counter() - started


@contextmanager
def watched(found: Exchange) -> Iterator[None]:
    """Part every all-reduce into waiting and reducing, by a barrier before it, which is counted as waiting."""
    reduce = distributed.all_reduce

    def watching(tensor: Tensor, *arguments: object, **named: object) -> object:
        times = [time.perf_counter()]
        distributed.barrier()
        times.append(time.perf_counter())
        result = reduce(tensor, *arguments, **named)
        times.append(time.perf_counter())
        found.calls += 1
        found.size += tensor.numel() * tensor.element_size()
        found.waiting += times[1] - times[0]
        found.reducing += times[2] - times[1]
        return result

    distributed.all_reduce = watching
    try:
        yield
    finally:
        distributed.all_reduce = reduce


def measure(both: Fabric, wanted: list[str], rounds: int) -> dict[tuple[str, str], Measured]:
    """All stages at the sizes wanted; called in both processes, and right in the first."""
    torch.set_num_threads(1)
    found = {}
    for name in wanted:
        for stage, make in STAGES.items():
            measured = Measured(SIZES[name].batch)
            steps = ways(make, SIZES[name], both)
            for again in range(rounds + 1):
                for way, run in steps.items():
                    seconds = seconds_of(way, run, both)
                    if again:
                        measured.seconds.setdefault(way, []).append(seconds)
            for way in EXCHANGING:
                with watched(measured.exchange.setdefault(way, Exchange())):
                    seconds_of(way, steps[way], both)
            found[stage, name] = measured
            both.print(f"{stage}, {name}: {measured.median(ONE):.3f} s in one process", flush=True)
    return found


def report(found: dict[tuple[str, str], Measured], rounds: int) -> str:
    """Tables: seconds, where they come from, and the exchange."""
    times, parts, exchanges = [], [], []
    for (stage, size), measured in found.items():
        whole, batch = measured.median(ONE), measured.batch
        for way in (ONE, *EXCHANGING):
            seconds, median = measured.seconds[way], measured.median(way)
            spread = f"{median:.3f} ({min(seconds):.3f} to {max(seconds):.3f})"
            times.append([stage, size, way, spread, f"{batch / median:.1f}", f"{whole / median:.2f}"])
        added = [f"{part:+.3f} ({part / whole:+.0%})" for part in measured.parts().values()]
        parts.append([stage, size, f"{whole / PROCESSES:.3f}", *added])
        for way, exchange in measured.exchange.items():
            row = [f"{exchange.calls:,}", f"{exchange.size / 2**20:.2f}"]
            row += [f"{exchange.waiting:.3f}", f"{exchange.reducing:.3f}"]
            exchanges.append([stage, size, way, *row])
    sizes = "; ".join(
        f"{name}: C={size.channels}, {size.layers} layers, {size.image_size}x{size.image_size}, batch {size.batch}, "
        f"PGD-{size.steps}"
        for name, size in SIZES.items()
    )
    reasons = next(iter(found.values())).parts()
    return "\n\n".join(
        [
            f"{PROCESSES} processes of one thread each, gloo, the same whole batch. {sizes}. float32, first order; "
            f"retraining is PGD adversarial training of DARTS_V2. Medians of {rounds} rounds of all ways in turn.",
            record.table(["step", "size", "way", "seconds (range)", "images/s", "times as fast"], times),
            "What is added to half the time of one process, in seconds and as a part of one process's time; "
            "differences of medians, from one way to the next:",
            record.table(["step", "size", "half the time", *reasons], parts),
            "The all-reduces of one step, with a barrier before each, whose own time is part of the waiting:",
            record.table(["step", "size", "way", "all-reduces", "MiB", "waiting (s)", "reducing (s)"], exchanges),
        ]
    )


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fabric = Fabric(accelerator="cpu", devices=PROCESSES, strategy="ddp_fork")
    found = fabric.launch(measure, arguments.sizes, arguments.rounds)
    record.write("processes", "Two processes", report(found, arguments.rounds), [], arguments.results)


if __name__ == "__main__":
    main()
