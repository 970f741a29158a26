"""What a search will take: its arithmetic, counted, over a rate that was measured or is assumed.

    python benchmarks/cost_model.py                      # measures the rate of this machine, a minute or two
    python benchmarks/cost_model.py --seconds 17.59      # of a step that was measured before (search_step.md, cifar)

The arithmetic is that of the supernet's convolutions and classifier, counted by torch without computing them. A pass
backward to the images costs as much as a pass forward, and one to the weights twice as much.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import record
import torch
from plain_supernet import PlainSupernet
from synthetic import Size, random_search
from torch.utils.flop_counter import FlopCounterMode

from search_space import SearchSpace

REFERENCE = Size(channels=16, layers=8, batch=16)  # the setting `cifar` of benchmarks/search_step.py
UNROLLED = 2.05  # times a step in first order: search_step.md, cifar
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Case:
    """A search to predict. images: that train weights, of an epoch.  rate: FLOP/s of each processor.

    bandwidth: bytes/s between processors, for the gradients of the weights.
    """

    name: str
    size: Size
    images: int
    epochs: int
    processors: int
    rate: float
    bandwidth: float

    def hours(self) -> float:
        """Of the search: arithmetic shared by all, and one exchange of gradients a step."""
        steps = self.images * self.epochs / (self.size.batch * self.processors)
        return steps * (step_flops(self.size) / self.rate + self.exchange_seconds()) / 3600

    def exchange_seconds(self) -> float:
        """Of a ring that sums the gradients of all weights over the processors."""
        share = 2 * (self.processors - 1) / self.processors
        return share * FLOAT_BYTES * parameters(self.size) / self.bandwidth


def supernet(size: Size) -> PlainSupernet:
    """The supernet, without what its weights hold."""
    space = SearchSpace(operations=size.operations)
    return PlainSupernet(space, channels=size.channels, layers=size.layers, num_classes=10, in_channels=3).to("meta")


@cache
def parameters(size: Size) -> int:
    """Of the supernet."""
    return sum(parameter.numel() for parameter in supernet(size).parameters())


@cache
def forward_flops(size: Size) -> int:
    """Of one image through the supernet; a multiply-add counts as two."""
    images = torch.empty(1, 3, size.image_size, size.image_size, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        supernet(size)(images)
    return counter.get_total_flops()


def step_flops(size: Size) -> int:
    """Of a step in first order: both gradients in alpha, then the weights on clean and attacked images."""
    attack = 2 * size.steps
    alphas = 2 + (attack + 2)
    weights = 3 + (attack + 3)
    return size.batch * forward_flops(size) * (alphas + weights)


def measured_seconds(size: Size, repeats: int) -> float:
    """Median of a search step on this machine, after one that does not count."""
    search, seconds = random_search(size), []
    for _ in range(repeats + 1):
        train, valid = next(search.batches())
        started = time.perf_counter()
        search.step(train, valid)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def cases(core_rate: float, gpu_rate: float, bandwidth: float) -> list[Case]:
    """What is predicted."""
    paper, imagenet = replace(REFERENCE, batch=64), replace(REFERENCE, batch=64, image_size=64)
    gpu = {"rate": gpu_rate, "bandwidth": bandwidth}
    return [
        Case("CIFAR-10, one core", paper, 25_000, 50, 1, core_rate, bandwidth),
        Case("CIFAR-10, one GPU", paper, 25_000, 50, 1, **gpu),
        Case("CIFAR-10, 8 GPUs", replace(paper, batch=8), 25_000, 50, 8, **gpu),
        Case("ImageNet at 64x64, 8 GPUs", imagenet, 640_000, 50, 8, **gpu),
        Case("ImageNet at 224x224, 8 GPUs", replace(imagenet, image_size=224), 640_000, 50, 8, **gpu),
    ]


def text(core_rate: float, gpu_rate: float, bandwidth: float, searches: int) -> str:
    """Tables and what they suppose."""
    rows = [
        [
            case.name,
            f"{case.images:,} x {case.epochs}",
            f"{forward_flops(case.size) / 1e9:.2f}",
            f"{case.exchange_seconds() / (step_flops(case.size) / case.rate):.1%}",
            f"{case.hours():,.1f}",
            f"{UNROLLED * case.hours():,.1f}",
        ]
        for case in cases(core_rate, gpu_rate, bandwidth)
    ]
    header = ("search", "images x epochs", "GFLOP forward", "exchange", "hours, first order", "hours, unrolled")
    days = searches * cases(core_rate, gpu_rate, bandwidth)[1].hours() / 8 / 24
    return (
        f"C={REFERENCE.channels}, {REFERENCE.layers} cells, PGD-{REFERENCE.steps}, half of the images for the alphas. "
        f"A core's rate, measured: {core_rate / 1e9:.1f} GFLOP/s. A GPU's, ASSUMED: {gpu_rate / 1e12:.1f} TFLOP/s; "
        f"between GPUs, ASSUMED: {bandwidth / 1e9:.0f} GB/s. Hours are in proportion to the assumed rate.\n\n"
        + record.table(header, rows)
        + f"\n\n{searches:,} searches of CIFAR-10 in first order, each on one of 8 GPUs: {days:,.0f} days. With one "
        f"step of PGD, carried over, in the place of {REFERENCE.steps}, 0.30 of that (variants-cifar10.md): "
        f"{0.3 * days:,.0f} days."
    )


def main() -> None:
    """Measure or take the rate, predict, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, help="of a search step of the reference; measured without it")
    parser.add_argument("--repeats", type=int, default=3, help="steps that are measured")
    parser.add_argument("--gpu-tflops", type=float, default=5.0, help="assumed, sustained in a supernet by one GPU")
    parser.add_argument("--bandwidth", type=float, default=100.0, help="assumed, GB/s between GPUs")
    parser.add_argument("--searches", type=int, default=1000, help="of a sweep")
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    seconds = arguments.seconds or measured_seconds(REFERENCE, arguments.repeats)
    said = text(
        step_flops(REFERENCE) / seconds, arguments.gpu_tflops * 1e12, arguments.bandwidth * 1e9, arguments.searches
    )
    record.write("cost_model", "What searches will take", said, (), arguments.results)


if __name__ == "__main__":
    main()
