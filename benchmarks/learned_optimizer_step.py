"""Time of a learned optimizer's step beside its arithmetic, and beside Adam's.

    python benchmarks/learned_optimizer_step.py
    python benchmarks/learned_optimizer_step.py --elements 100000 --repeats 50
    E2RNAS_COMPILED=0 python benchmarks/learned_optimizer_step.py    # PyTorch alone

The arithmetic of a step is that of the network on every element, all its inputs counted, at the rate that a large
product of float32 matrices reaches in the same run. One tensor, and a hundred that hold as many elements together. All
are measured in turn, on one thread, in its processor time, which other work on the machine disturbs least; medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from record import RESULTS, table, write
from torch import Tensor

from learned_optimizers import ARCHITECTURES, LearnedOptimizer, architecture, new_theta

SIDE = 1024  # of the matrices whose product gives the machine's rate
COMPILED = tuple(name for name in ARCHITECTURES if architecture(name).is_compiled)
TENSORS = 100  # of the many
LAYERS = ("input.weight", "hidden.weight", "output.weight")  # on every element


def arithmetic(name: str) -> int:
    """Floating-point operations of a step for each element."""
    shapes = architecture(name).shapes
    return sum(2 * shapes[layer][0] * shapes[layer][1] for layer in LAYERS)


def parameters(sizes: Sequence[int]) -> list[Tensor]:
    """Random ones with gradients."""
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(size, generator=generator).requires_grad_() for size in sizes]
    for parameter in made:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return made


def learned_step(name: str, sizes: Sequence[int]) -> Callable[[], object]:
    """A step of the learned optimizer on tensors of these sizes."""
    theta = new_theta(name, generator=torch.Generator().manual_seed(0))
    optimizer, loss = LearnedOptimizer(parameters(sizes), theta), torch.tensor(1.0)
    return lambda: optimizer.step(loss=loss)


def medians(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Seconds of this thread for each, in turn, after one round that does not count."""
    seconds: list[list[float]] = [[] for _ in calls]
    for turn in range(repeats + 1):
        for call, kept in zip(calls, seconds, strict=True):
            started = time.thread_time()
            call()
            if turn:
                kept.append(time.thread_time() - started)
    return [statistics.median(kept) for kept in seconds]


def main() -> None:
    """Measure and write learned_optimizer_step.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    one, many = [arguments.elements], [arguments.elements // TENSORS] * TENSORS
    matrix = torch.randn(SIDE, SIDE)
    adams = [torch.optim.Adam(parameters(sizes), foreach=True) for sizes in (one, many)]
    learned = [learned_step(name, sizes) for name in COMPILED for sizes in (one, many)]
    calls = [lambda: matrix @ matrix, *(adam.step for adam in adams), *learned]
    product, *seconds = medians(calls, arguments.repeats)
    rate = 2 * SIDE**3 / product
    rows = [["Adam (foreach)", *(f"{1e3 * s:.1f}" for s in seconds[:2]), f"{seconds[1] / seconds[0]:.2f}", "", ""]]
    for index, name in enumerate(COMPILED):
        alone, shared = seconds[2 + 2 * index : 4 + 2 * index]
        least = arithmetic(name) * arguments.elements / rate
        figures = [f"{1e3 * alone:.1f}", f"{1e3 * shared:.1f}", f"{shared / alone:.2f}"]
        rows.append([name, *figures, f"{1e3 * least:.1f}", f"{max(alone, shared) / least:.2f}"])
    header = ["optimizer", "one tensor, ms", f"{TENSORS} tensors, ms", "their ratio", "arithmetic, ms", "times of it"]
    text = (
        f"A step on {arguments.elements:,} parameters; medians of {arguments.repeats}, all in turn, in processor time. "
        f"A product of float32 matrices of side {SIDE:,} ran at {rate / 1e9:.0f} GFLOP/s.\n\n" + table(header, rows)
    )
    write("learned_optimizer_step", "A step of a learned optimizer", text, [], arguments.results)


if __name__ == "__main__":
    main()
