"""The functions of OPERATION_WEIGHTS, from the alphas of edges to the weights of their operations.

    weights(logits, uniform, temperature) -> [..., operations], at least 0

logits: [..., operations], -inf where an edge may not hold an operation.
uniform: numbers in [0, 1) of the same shape, from which what is random is drawn; None leaves it out, and gives the
strengths by which a cell is derived.
temperature: above 0, of what is drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def softmax(logits: Tensor, uniform: Tensor | None, temperature: float) -> Tensor:
    """Return the softmax of an edge's alphas."""
    return torch.softmax(logits, dim=-1)


def sigmoid(logits: Tensor, uniform: Tensor | None, temperature: float) -> Tensor:
    """Return the sigmoid of each alpha."""
    return torch.sigmoid(logits)


def gumbel_softmax(logits: Tensor, uniform: Tensor | None, temperature: float) -> Tensor:
    """Return 1 for an operation that is drawn by its probability, with the gradient of a softmax (Jang et al. 2017)."""
    if uniform is None:
        return torch.softmax(logits, dim=-1)
    soft = torch.softmax((logits + gumbel(uniform)) / temperature, dim=-1)
    hard = F.one_hot(soft.argmax(dim=-1), soft.shape[-1]).to(soft)
    return hard + (soft - soft.detach())  # value of the sample, gradient of the softmax


def gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel noise of uniform numbers in [0, 1): logits plus it are largest where their softmax would draw."""
    return -torch.log(-torch.log(uniform.clamp_min(torch.finfo(uniform.dtype).tiny)))
