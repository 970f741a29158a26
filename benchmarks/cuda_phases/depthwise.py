"""Depthwise convolutions by size, dilation, layout and precision: forward, and both ways back to the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import torch
from torch import Tensor
from torch.autograd import grad
from torch.nn import functional as F

from cuda_phases.place import Place, Row
from search_space.kernels.depthwise import depthwise

KERNELS = ((3, 1), (5, 1), (3, 2), (5, 2))  # side and dilation, as DARTS's operations have them
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
TIMES = 20  # calls of a measurement, each below a millisecond


def rows(place: Place, earlier: Callable[[str], Sequence[Row]]) -> Iterator[Row]:
    """Give the time of each, and the bandwidth of the pass forward: what it reads and writes over its time."""
    batch = place.sizes.search.batch
    for (channels, side), (kernel, dilation) in product(place.sizes.features, KERNELS):
        for (layout, memory), (precision, dtype) in product(LAYOUTS.items(), PRECISIONS.items()):
            images = torch.randn(batch, channels, side, side, device=place.device, dtype=dtype)
            images = images.to(memory_format=memory).requires_grad_()
            weight = torch.randn(channels, 1, kernel, kernel, device=place.device, dtype=dtype)
            yield {
                "channels": channels,
                "side": side,
                "kernel": kernel,
                "dilation": dilation,
                "layout": layout,
                "precision": precision,
                **_figures(place, images, weight, dilation),
            }


def _figures(place: Place, images: Tensor, weight: Tensor, dilation: int) -> Row:
    padding, times = dilation * (weight.shape[2] // 2), TIMES if place.is_cuda else 1

    def by_pytorch() -> Tensor:
        return F.conv2d(images, weight, None, 1, padding, dilation, groups=len(weight))

    def slope(forward: Callable[[], Tensor]) -> float:
        output = forward()
        return place.seconds(lambda: grad(output, images, torch.ones_like(output), retain_graph=True), times=times)

    with torch.no_grad():
        forward = place.seconds(by_pytorch, times=times)
    moved = 2 * images.numel() * images.element_size()
    return {
        "forward us": 1e6 * forward,
        "forward GB/s": moved / forward / 1e9,
        "back by PyTorch us": 1e6 * slope(by_pytorch),
        "back by the flipped kernel us": 1e6 * slope(lambda: depthwise(images, weight, dilation=dilation)),
    }
