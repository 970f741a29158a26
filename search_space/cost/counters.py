"""Multiply-accumulates of one image (1 MAC = 2 FLOPs), as PyTorch's counter of FLOPs and as thop see them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import thop
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

_DECOMPOSED = frozenset({"aten", "prim", "prims"})  # what PyTorch's counter sees into, or knows to hold no product


class UncountableError(ValueError):
    """A module whose multiply-accumulates cannot be told, with the reason."""


def product_macs(module: nn.Module, images: Tensor) -> int:
    """Count the MACs of every convolution, linear map and product of matrices in one pass over images [1, C, H, W].

    Attention counts its projections and both of its products, whichever kernel it would run on.
    Raises UncountableError where an operator of another library hides what it multiplies.
    """
    with (
        _unfused(),
        FlopCounterMode(display=False, custom_mapping=dict(_PRODUCTS_WITH_VECTORS)) as counter,
        _Operators() as operators,
        torch.no_grad(),
    ):
        module(images)
    if operators.opaque:
        raise UncountableError(f"PyTorch's counter does not see into {', '.join(sorted(operators.opaque))}")
    return int(counter.get_total_flops()) // 2


def thop_macs(module: nn.Module, images: Tensor) -> int:
    """Count as thop does: the modules that it knows, batch norm and pooling among them; other code is left out.

    So attention's projections and products, and calls of torch.nn.functional, are not in it. thop puts hooks and
    buffers on what it counts: the module is of no use afterwards.
    """
    with warnings.catch_warnings():  # thop warns of its own deprecated functions
        warnings.simplefilter("ignore")
        macs, _ = thop.profile(nn.Sequential(module), inputs=(images,), verbose=False)
    return int(macs)


@contextmanager
def _unfused() -> Iterator[None]:
    """Run attention, recurrent layers and compiled code as plain operators: the counter knows no fused kernel."""
    fast_path, one_dnn = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
        with sdpa_kernel(SDPBackend.MATH), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        torch.backends.mkldnn.enabled = one_dnn


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operators of other libraries than PyTorch's own, such as quantized.linear_dynamic."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.opaque: set[str] = set()

    def __torch_dispatch__(
        self, operator: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if operator.namespace not in _DECOMPOSED:
            self.opaque.add(str(operator).removesuffix(".default"))
        return operator(*args, **(kwargs or {}))


def _flops_with_vector(matrix: Sequence[int], vector: Sequence[int], **_: Any) -> int:
    return 2 * prod(matrix)


def _flops_added_to(added: Sequence[int], matrix: Sequence[int], vector: Sequence[int], **_: Any) -> int:
    return 2 * prod(matrix)


_PRODUCTS_WITH_VECTORS = {  # which PyTorch's counter leaves out
    torch.ops.aten.mv: _flops_with_vector,
    torch.ops.aten.dot: _flops_with_vector,
    torch.ops.aten.addmv: _flops_added_to,
}
