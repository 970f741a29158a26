"""Copies of small parameters on the CPU, made once for all that read them, as each waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_COPIES = WeakTensorKeyDictionary()  # tensor -> the version that counts what was done to it in place, and its copy


def on_host(tensor: Tensor) -> Tensor:
    """Return a tensor's values on the CPU, not to be written to; copied anew only after it has changed.

    >>> import torch
    >>> tensor = torch.ones(2)
    >>> on_host(tensor).tolist()
    [1.0, 1.0]
    """
    values = tensor.detach()
    if tensor.device.type == "cpu" or tensor.is_inference():
        return values.cpu()
    known = _COPIES.get(tensor, None)  # type: ignore[no-untyped-call]
    if known is None or known[0] != tensor._version:
        known = _COPIES[tensor] = tensor._version, values.cpu()
    copy: Tensor = known[1]
    return copy


def copied_later(tensor: Tensor) -> tuple[Tensor, Callable[[Sequence[float]], None]]:
    """Return what to read of a tensor together with other values, and what keeps its copy once it is read.

    So `on_host` need not wait for the device again. On the CPU there is nothing to read and to keep.
    """
    if tensor.device.type == "cpu":
        return tensor.new_empty(0), lambda read: None
    version, shape, dtype = tensor._version, tensor.shape, tensor.dtype

    def keep(read: Sequence[float]) -> None:
        _COPIES[tensor] = version, torch.tensor(read, dtype=dtype).view(shape)

    return tensor.detach(), keep
