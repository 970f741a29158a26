"""Versions, and what the device does best: copies, matrix products, and the start of a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from cuda_phases.place import Place, Row
from pipeline.compute.environment import environment

STARTS = 200  # kernels in a row, for the time to start one
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def versions() -> Row:
    """Return what a figure depends on: hardware and versions."""
    found: Row = dict(environment())
    if torch.cuda.is_available():
        found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
        found |= {"capability": ".".join(map(str, torch.cuda.get_device_capability()))}
    return found


def rows(place: Place, earlier: Callable[[str], Sequence[Row]]) -> Iterator[Row]:
    """Give versions, bandwidths, rates of matrix products and the time of one small kernel."""
    for name, value in versions().items():
        yield {"what": name, "value": value}
    yield from _copies(place)
    yield from _products(place)
    one = torch.zeros((), device=place.device)
    started = place.seconds(lambda: one.add_(1), times=STARTS)
    yield {"what": "one small kernel after another", "value": 1e6 * started, "unit": "us"}


def _copies(place: Place) -> Iterator[Row]:
    count = place.sizes.copied // 4
    source, target = (torch.ones(count, device=place.device) for _ in range(2))
    here = torch.ones(count)
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "copy on the device, read and written": (2, lambda: target.copy_(source)),
        "copy to the device": (1, lambda: target.copy_(here)),
        "copy from the device": (1, lambda: here.copy_(source)),
    }
    if place.is_cuda:
        pinned = here.pin_memory()
        ways["copy to the device, from pinned memory"] = 1, lambda: target.copy_(pinned)
    for name, (times, call) in ways.items():
        yield {"what": name, "value": times * place.sizes.copied / place.seconds(call) / 1e9, "unit": "GB/s"}


def _products(place: Place) -> Iterator[Row]:
    side = place.sizes.matrix
    before = torch.backends.cuda.matmul.allow_tf32
    for name, dtype in PRECISIONS.items():
        matrix = torch.randn(side, side, device=place.device).to(dtype)
        for tf32 in (False, True) if dtype == torch.float32 else (False,):
            torch.backends.cuda.matmul.allow_tf32 = tf32
            seconds = place.seconds(lambda matrix=matrix: matrix @ matrix)
            yield {
                "what": f"matrix product, {name}{', TF32' if tf32 else ''}",
                "value": 2 * side**3 / seconds / 1e12,
                "unit": "TFLOP/s",
            }
    torch.backends.cuda.matmul.allow_tf32 = before
    tall, small = torch.randn(side * 8, 16, device=place.device), torch.randn(16, 16, device=place.device)
    seconds = place.seconds(lambda: tall @ small, times=10)
    moved = 2 * tall.numel() * 4
    yield {"what": f"[{len(tall)}, 16] @ [16, 16], read and written", "value": moved / seconds / 1e9, "unit": "GB/s"}
