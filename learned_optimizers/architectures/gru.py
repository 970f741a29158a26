"""One recurrent network for every parameter (Maheswaranathan et al. 2020, arXiv 2011.02159): a component-wise GRU.

Elements do not see one another: state and step of each are functions of its own gradients. That is what makes it the
optimizer whose dynamics can be analysed (`learned_optimizers.analysis`). Its step has no compiled code.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from learned_optimizers.architectures.base import Architecture, Block, Plan, Tensors
from learned_optimizers.architectures.features import Facts
from learned_optimizers.architectures.mlp import initial_layers

GruInput = Literal["gradient", "logarithm"]
GATES = 3  # reset, update and new state, in PyTorch's order


class GRU(Architecture):
    """GRU with a linear read-out, which is 0 before any training: what is subtracted is output^T hidden.

    units: of the hidden state, which is all zeros at first.
    sees: the gradient g as it is, or log(1 + |g|) and the sign of g, for gradients of many sizes.
    """

    is_compiled = False

    def __init__(self, units: int = 32, sees: GruInput = "gradient") -> None:
        self.units, self.sees = units, sees
        self.accumulators = MappingProxyType({"hidden": units})
        self.sums = 0
        self.shapes = MappingProxyType(
            {
                "input.weight": (GATES * units, 1 if sees == "gradient" else 2),
                "hidden.weight": (GATES * units, units),
                "bias": (GATES * units,),
                "output": (units,),
            }
        )

    def initial_tensors(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return weights from N(0, 1 / inputs), biases and read-out 0."""
        return initial_layers(self.shapes, generator)  # a vector, such as the read-out, is 0

    def initial_shared(self, tensors: Tensors) -> dict[str, Tensor]:
        """Return nothing: each element is for itself."""
        return {}

    def accumulate(self, tensors: Tensors, block: Block, of_tensors: Tensors) -> tuple[dict[str, Tensor], Tensor]:
        """Make the step of every element's hidden state; nothing is summed."""
        before = block.accumulators["hidden"]
        seen = torch.mm(tensors["input.weight"], self._seen(block.gradients)) + tensors["bias"][:, None]
        reset, update, new = seen.chunk(GATES)
        recurrent = torch.mm(tensors["hidden.weight"], before)
        of_reset, of_update, of_new = recurrent.chunk(GATES)
        new = torch.tanh(new + torch.sigmoid(reset + of_reset) * of_new)
        hidden = torch.lerp(new, before, torch.sigmoid(update + of_update), out=block.over(before))
        return {"hidden": hidden}, block.segments.total(block.gradients[None][:0])

    def _seen(self, gradients: Tensor) -> Tensor:
        """Return the inputs of the network, [inputs, n]."""
        if self.sees == "gradient":
            return gradients[None]
        return torch.stack([torch.log1p(gradients.abs()), gradients.sign()])

    def plan(
        self, tensors: Tensors, of_tensors: Tensors, shared: Tensors, sums: Tensor, facts: Facts
    ) -> tuple[Plan, dict[str, Tensor], dict[str, Tensor]]:
        """Nothing: the second pass needs no more than its elements."""
        return Plan({}, {}), {}, dict(shared)

    def step(self, tensors: Tensors, block: Block, plan: Plan) -> tuple[Tensor, None]:
        """Read every element's step out of its hidden state."""
        return tensors["output"] @ block.accumulators["hidden"], None
