"""What each part of the fast supernet is worth: one input gradient (an iteration of PGD), part by part.

    python benchmarks/ablation.py                                # all variants but torch.compile
    python benchmarks/ablation.py --settings small --compile 2   # two cells by torch.compile, minutes of compilation

All variants run in turn in one process, on the same weights and images; medians, ratios to the plain supernet, and the
part of the signs of the gradient, which are all that PGD reads, that differ from those of float64.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from search_step import SETTINGS, build
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.kernels.native import loading

Gradient = Callable[[], Tensor]


def input_gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Of the cross entropy."""
    inputs = images.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(inputs), labels), inputs)[0]


@contextmanager
def without_compiled_code() -> Iterator[None]:
    """Leave everything to PyTorch."""
    library = loading.library
    loading.library = lambda: None  # type: ignore[assignment]
    try:
        yield
    finally:
        loading.library = library


def variants(setting: str, compiled_cells: int) -> tuple[dict[str, Gradient], Tensor]:
    """Each variant's gradient, and that of float64."""
    plain, fused, (images, labels), _ = build(SETTINGS[setting], torch.float32, "cpu")
    in_layout, _, _, _ = build(SETTINGS[setting], torch.float32, "cpu")
    in_layout.to(memory_format=torch.channels_last)
    for model in (plain, fused, in_layout):
        for weight in model.parameters():
            weight.requires_grad_(False)

    def by_pytorch() -> Tensor:
        with without_compiled_code():
            return input_gradient(fused, images, labels)

    def in_bfloat16() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return input_gradient(fused, images, labels)

    exact = input_gradient(plain.double(), images.double(), labels)
    plain.float()
    found: dict[str, Gradient] = {
        "plain": lambda: input_gradient(plain, images, labels),
        "plain, channels_last": lambda: input_gradient(in_layout, images, labels),
        "fused, by PyTorch": by_pytorch,
        "fused, compiled kernels": lambda: input_gradient(fused, images, labels),
        "fused, bfloat16": in_bfloat16,
    }
    if compiled_cells:
        _, traced, _, _ = build(SETTINGS[setting], torch.float32, "cpu")
        for weight in traced.parameters():
            weight.requires_grad_(False)

        def by_inductor() -> Tensor:
            with without_compiled_code():
                return input_gradient(traced, images, labels)

        for index, cell in enumerate(list(traced.cells)[:compiled_cells]):
            cell.compile(dynamic=False)
            started = time.perf_counter()
            by_inductor()
            print(f"torch.compile of cell {index}: {time.perf_counter() - started:.0f} s", flush=True)
        found[f"fused, {compiled_cells} cells by torch.compile"] = by_inductor
    return found, exact


def main() -> None:
    """Print a table for each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=("small", "cifar"), default=["small", "cifar"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", type=int, default=0, metavar="CELLS", help="compile this many cells, minutes each")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{arguments.threads} threads, torch {torch.__version__}, medians of {arguments.repeats}")
    for setting in arguments.settings:
        found, exact = variants(setting, arguments.compile)
        seconds: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(arguments.repeats + 1):
            for name, gradient in found.items():
                started = time.perf_counter()
                gradient()
                seconds[name].append(time.perf_counter() - started)
        plain = statistics.median(seconds["plain"][1:])
        print(f"\n{setting:32}      ms  ratio  signs that differ")
        for name, gradient in found.items():
            median = statistics.median(seconds[name][1:])
            differing = (gradient().sign() != exact.sign()).double().mean().item()
            print(f"{name:32}  {1e3 * median:6.0f}  {plain / median:5.2f}  {differing:.2%}", flush=True)


if __name__ == "__main__":
    main()
