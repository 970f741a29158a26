"""The library of compiled passes, and what it takes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from compiled import INT, POINTER, load_library


@cache
def library() -> ctypes.CDLL | None:
    """Load the compiled passes once; None where there are none to use, see `compiled.load_library`."""
    loaded = load_library("search_space.kernels.native._kernels")
    if loaded is None:
        return None
    loaded.node_pass.restype = None
    loaded.node_pass.argtypes = [POINTER, INT, POINTER, INT, POINTER, POINTER]
    loaded.depthwise_weight.restype = None
    loaded.depthwise_weight.argtypes = [POINTER] * 4
    loaded.grouped_convolution.restype = None
    loaded.grouped_convolution.argtypes = [POINTER, INT, POINTER, POINTER, POINTER]
    loaded.grouped_convolution_weight.restype = None
    loaded.grouped_convolution_weight.argtypes = [POINTER] * 4
    loaded.average_pool.restype = None
    loaded.average_pool.argtypes = [POINTER, INT, INT, INT, INT, INT, INT, POINTER]
    loaded.column_sums.restype = None
    loaded.column_sums.argtypes = [POINTER, POINTER, ctypes.c_long, INT, INT, POINTER]
    loaded.batch_norm.restype = None
    loaded.batch_norm.argtypes = [POINTER, ctypes.c_long, INT, INT, ctypes.c_double, POINTER, POINTER]
    loaded.batch_norm_backward.restype = None
    loaded.batch_norm_backward.argtypes = [POINTER, POINTER, ctypes.c_long, INT, INT, POINTER, POINTER]
    for passes in (loaded.network_forward, loaded.network_backward):
        passes.restype = INT
        passes.argtypes = [POINTER] * 4
    loaded.network_lanes.restype = INT
    loaded.network_lanes.argtypes = []
    return loaded


def takes(values: Sequence[Tensor], channels: int) -> bool:
    """Return whether compiled code is there and takes these: float32 on the CPU, with channels in eights."""
    return channels % 8 == 0 and takes_type(values)


def takes_type(values: Sequence[Tensor]) -> bool:
    """Return whether compiled code is there and takes what these are: float32 on the CPU."""
    return library() is not None and all(
        value.dtype == torch.float32 and value.device.type == "cpu" for value in values
    )
