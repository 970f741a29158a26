"""What the backward passes of this package ask of autograd's engine."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def is_batched(slope: Tensor) -> bool:
    """Return whether this stands for the gradients of several backward passes at once, as under is_grads_batched."""
    return bool(torch._C._dispatch_keys(slope).has("Batched"))


def wanted(ctx: Any, index: int) -> bool:
    """Return whether this backward pass was asked for the gradient in input `index` of a Function.

    `needs_input_grad` says only that it has one. Of leaves the engine does not tell, so weights come as views of
    parameters.
    """
    node = ctx.next_functions[index][0]
    if node is None or node.name() == "torch::autograd::AccumulateGrad":
        return node is not None
    executed: bool = torch._C._will_engine_execute_node(node)
    return executed
