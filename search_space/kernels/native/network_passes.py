"""The compiled passes of images through a whole network whose weights are fixed, and back."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from compiled import fields
from search_space.kernels.native.loading import library


class StepKind(IntEnum):
    """What a step does with its input; the numbers are those of kernels.cpp."""

    SCALE = 0
    DENSE = 1
    DEPTHWISE = 2
    MAX_POOL = 3
    AVERAGE_POOL = 4
    EVERY_SECOND = 5
    ADD = 6
    ZERO = 7


@dataclass(frozen=True)
class Value:
    """Features [channels, height, width] of an image, from `place` on among all that are kept, or that pass.

    passing: read by the next step alone, after which others take its place.
    """

    place: int
    channels: int
    height: int
    width: int
    passing: bool = False

    @property
    def size(self) -> int:
        """Return its number of floats."""
        return self.channels * self.height * self.width


@dataclass(frozen=True)
class Step:
    """A step of the passes; each pair is of rows and columns.

    rectified: the input goes through ReLU first.  added: the output is added to what is there.
    weight, bias: where they begin in the weights; bias None where there is none.
    padding: of EVERY_SECOND, the first row and column.
    """

    kind: StepKind
    input: int
    output: int
    rectified: bool = False
    added: bool = False
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    weight: int = 0
    bias: int | None = None


class _Value(ctypes.Structure):
    _fields_ = (("place", ctypes.c_long), *fields(integers="channels height width passing"))


_PAIR = ctypes.c_int * 2


class _Step(ctypes.Structure):
    _fields_ = (
        *fields(integers="kind rectified added input output"),
        *((name, _PAIR) for name in ("kernel", "stride", "padding")),
        *fields(integers="dilation"),
        *((name, ctypes.c_long) for name in ("weight", "bias")),
    )


class _Network(ctypes.Structure):
    _fields_ = (
        *fields("values steps weights"),
        *fields(integers="count logits batch threads networks"),
        *((name, ctypes.c_long) for name in ("of_network", "kept", "passing", "rows", "found")),
    )


class NetworkPasses:
    """Passes through networks that are a sequence of steps from values to values; the first value is the images.

    weights: float32, on the CPU, of all steps, [S, W] of S networks.  logits: the index of the value that is returned.
    """

    def __init__(self, values: Sequence[Value], steps: Sequence[Step], weights: Tensor, logits: int) -> None:
        compiled = library()
        if compiled is None:
            raise ValueError("expected compiled code, found none: install with a C++ compiler")
        self._compiled, self._weights, self._image, self._classes = compiled, weights, values[0], values[logits].size
        self._count = len(weights)
        self._values = (_Value * len(values))(
            *(_Value(each.place, each.channels, each.height, each.width, each.passing) for each in values)
        )
        self._steps = (_Step * len(steps))(*map(_structure, steps))
        rows, found = zip(*(_room(step, values) for step in steps), strict=True)
        self._kept, passing = (
            max((each.place + each.size for each in values if each.passing == passes), default=1)
            for passes in (False, True)
        )
        self._network = _Network(
            ctypes.addressof(self._values), ctypes.addressof(self._steps), weights.data_ptr(), len(steps), logits
        )
        self._network.networks, self._network.of_network = weights.shape
        self._network.kept, self._network.passing = self._kept, passing
        self._network.rows, self._network.found = max(rows), max(found)

    def forward(self, images: Tensor, *, keep: bool) -> tuple[Tensor, Tensor | None]:
        """Return logits [N, S * classes] of images [N, S * C, H, W], and where asked what the way back needs."""
        images = images.contiguous()
        logits = images.new_empty(len(images), self._count * self._classes)
        kept = None
        if keep:
            lanes = self._compiled.network_lanes()
            kept = images.new_empty(-(-len(images) // lanes) * lanes * self._kept * self._count)
        address = None if kept is None else kept.data_ptr()
        self._compiled.network_forward(self._for(len(images)), images.data_ptr(), address, logits.data_ptr())
        return logits, kept

    def backward(self, slopes: Tensor, kept: Tensor) -> Tensor:
        """Return the gradient [N, S * C, H, W] in the images, of slopes [N, S * classes]."""
        slopes = slopes.contiguous()
        image = self._image
        gradient = slopes.new_empty(len(slopes), self._count * image.channels, image.height, image.width)
        self._compiled.network_backward(self._for(len(slopes)), slopes.data_ptr(), kept.data_ptr(), gradient.data_ptr())
        return gradient

    def _for(self, batch: int) -> object:
        self._network.batch, self._network.threads = batch, torch.get_num_threads()
        return ctypes.byref(self._network)


def _structure(step: Step) -> _Step:
    return _Step(
        step.kind,
        step.rectified,
        step.added,
        step.input,
        step.output,
        *(_PAIR(*pair) for pair in (step.kernel, step.stride, step.padding)),
        step.dilation,
        step.weight,
        -1 if step.bias is None else step.bias,
    )


def _room(step: Step, values: Sequence[Value]) -> tuple[int, int]:
    """Return floats of an image that a convolution lays out between zeros, there and back, and of its gradient."""
    if step.kind not in (StepKind.DENSE, StepKind.DEPTHWISE):
        return 1, 1
    of, out = values[step.input], values[step.output]
    back = (step.kernel[1] - 1) * step.dilation - step.padding[1]
    high = (out.height - 1) * step.stride[0] + 1
    there = of.channels * of.height * (of.width + 2 * step.padding[1])
    return max(there, out.channels * high * (of.width + 2 * back)), of.size
