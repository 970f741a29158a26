"""How fast networks take gradients on the CPU, beside torch.nn's own functions on the same weights and images.

    python benchmarks/network_gradients.py --threads 1

An input gradient in evaluation mode (an iteration of PGD), also where weights are fixed as in every evaluation, and a
training step's gradients, of published cells. All
variants run in turn in one process; medians, and ratios to torch.nn in its own layout.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import record
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space import PUBLISHED, Network, fixed_weights
from search_space.network import network

CELLS = ("DARTS_V2", "PDARTS", "RACL")
SHAPES = ((8, 3), (16, 8), (36, 8))  # channels, layers
Pass = Callable[[nn.Module], list[Tensor]]


@contextmanager
def in_torchs_layout() -> Iterator[None]:
    """Leave everything to torch.nn, features in its own layout."""
    laid_out = network._laid_out
    network._laid_out = lambda images: images
    try:
        with without_fast_gradients():
            yield
    finally:
        network._laid_out = laid_out


@contextmanager
def without_fast_gradients() -> Iterator[None]:
    """Leave everything to torch.nn, in channels_last."""
    ours = network.fast_gradients
    network.fast_gradients = nullcontext  # type: ignore[assignment]
    try:
        yield
    finally:
        network.fast_gradients = ours


def passes(images: Tensor, labels: Tensor) -> dict[str, tuple[bool, Pass]]:
    """By name: whether the network trains, and the gradients that it takes."""

    def attacked(model: nn.Module) -> list[Tensor]:
        inputs = images.clone().requires_grad_()
        return list(torch.autograd.grad(F.cross_entropy(model(inputs), labels), inputs))

    def trained(model: nn.Module) -> list[Tensor]:
        return list(torch.autograd.grad(F.cross_entropy(model(images), labels), list(model.parameters())))

    return {"input gradient": (False, attacked), "training gradients": (True, trained)}


def row(cell: str, channels: int, layers: int, batch: int, size: int, repeats: int) -> Iterator[list[str]]:
    """Seconds of each pass, as cells of the table."""
    torch.manual_seed(0)
    built = Network(PUBLISHED[cell].genotype, channels=channels, layers=layers)
    images, labels = torch.rand(batch, 3, size, size), torch.arange(batch) % 10
    for name, (trains, gradients) in passes(images, labels).items():
        model = built.train(trains).requires_grad_(trains)
        variants = (
            in_torchs_layout,
            without_fast_gradients,
            nullcontext,
            *(() if trains else (partial(fixed_weights, model),)),
        )
        seconds: list[list[float]] = [[] for _ in variants]
        for _ in range(repeats + 1):  # the first is not counted
            for taken, way in zip(seconds, variants, strict=True):
                with way():
                    with torch.no_grad():
                        model.eval()(images[:1])  # fixed weights are laid out in the first pass
                    model.train(trains)
                    started = time.perf_counter()
                    gradients(model)
                    taken.append(time.perf_counter() - started)
        medians = [statistics.median(taken[1:]) for taken in seconds]
        ratios = [f"{1e3 * median:,.0f} ({medians[0] / median:.2f})" for median in medians[1:]]
        yield [
            f"{cell}, C={channels}, {layers} layers",
            name,
            f"{1e3 * medians[0]:,.0f}",
            *ratios,
            *["-"] * (3 - len(ratios)),
        ]


def main() -> None:
    """Print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", choices=PUBLISHED, default=list(CELLS), metavar="CELL")
    parser.add_argument(
        "--channels", nargs="+", type=int, choices=[c for c, _ in SHAPES], default=[c for c, _ in SHAPES]
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--results", type=record.Path, default=record.RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shapes = [shape for shape in SHAPES if shape[0] in arguments.channels]
    rows = [
        line
        for channels, layers in shapes
        for cell in arguments.cells
        for line in row(cell, channels, layers, arguments.batch, arguments.image_size, arguments.repeats)
    ]
    header = (
        "network",
        "pass",
        "torch.nn, ms",
        "torch.nn in channels_last, ms (ratio)",
        "Network, ms (ratio)",
        "fixed weights, ms (ratio)",
    )
    text = (
        f"Images {arguments.image_size}x{arguments.image_size}, batch {arguments.batch}, float32; "
        f"medians of {arguments.repeats}, all variants in turn.\n\n" + record.table(header, rows)
    )
    record.write("network_gradients", "Gradients of networks on the CPU", text, [], arguments.results)


if __name__ == "__main__":
    main()
