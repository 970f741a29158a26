"""One small network for every parameter (Metz et al. 2018, arXiv 1810.10180): 1,762 meta-parameters.

Its 19 inputs are the gradient, the parameter, six momenta, each divided by its root mean square over the tensor, and
eleven functions of time, which are the same for all elements and so enter the first layer as its bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from learned_optimizers.architectures.base import Architecture, Block, NetworkLayers, Plan, Tensors, bias_after
from learned_optimizers.architectures.features import (
    TIMESCALES,
    Facts,
    reciprocal_rms,
    running,
    step_of,
    tanh_time,
)

MOMENTUM_SHARES = (
    1 - torch.tensor([0.1, 0.5, 0.9, 0.99, 0.999, 0.9999], dtype=torch.float64)[:, None]
)  # 1 - decay of momenta
VARYING = 2 + len(MOMENTUM_SHARES)  # inputs that differ from element to element
TIMES = len(TIMESCALES)
HIDDEN = 32


class MLP(Architecture):
    """MLP 19 -> 32 -> 32 -> 2: direction and magnitude of each parameter's step."""

    shapes = MappingProxyType(
        {
            "input.weight": (HIDDEN, VARYING + TIMES),
            "input.bias": (HIDDEN,),
            "hidden.weight": (HIDDEN, HIDDEN),
            "hidden.bias": (HIDDEN,),
            "output.weight": (2, HIDDEN),
            "output.bias": (2,),
        }
    )
    accumulators = MappingProxyType({"momenta": len(MOMENTUM_SHARES)})
    shares = MOMENTUM_SHARES
    sums = VARYING

    def initial_tensors(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return weights from N(0, 1 / inputs), biases 0."""
        return initial_layers(self.shapes, generator)

    def initial_shared(self, tensors: Tensors) -> dict[str, Tensor]:
        """Return the number of steps, 0."""
        return {"step": torch.zeros_like(tensors["input.bias"][0])}

    def accumulate(self, tensors: Tensors, block: Block, of_tensors: Tensors) -> tuple[dict[str, Tensor], Tensor]:
        """Momenta, and the sums of squares of the inputs."""
        before = block.accumulators["momenta"]
        momenta = running(before, block.gradients, MOMENTUM_SHARES, out=block.over(before))
        return {"momenta": momenta}, block.segments.total_squares(_inputs(block, momenta))

    def plan(
        self, tensors: Tensors, of_tensors: Tensors, shared: Tensors, sums: Tensor, facts: Facts
    ) -> tuple[Plan, dict[str, Tensor], dict[str, Tensor]]:
        """Scales of the inputs, and the layers' biases with time in them."""
        first = tensors["input.weight"][:, VARYING:] @ tanh_time(shared["step"]) + tensors["input.bias"]
        second = bias_after(first, tensors["hidden.weight"], tensors["hidden.bias"])
        third = bias_after(second, tensors["output.weight"], tensors["output.bias"])
        common = {"first floor": -first[:, None], "second floor": -second[:, None], "bias": third[:, None]}
        plan = Plan({"scale": reciprocal_rms(sums, facts.sizes)}, common)
        return plan, {}, {"step": shared["step"] + 1}

    def layers(self, tensors: Tensors, plan: Plan) -> NetworkLayers:
        """Biases are in the floors, and the last."""
        return NetworkLayers(
            first=tensors["input.weight"][:, :VARYING],
            first_floor=plan.common["first floor"],
            second=tensors["hidden.weight"],
            second_floor=plan.common["second floor"],
            output=tensors["output.weight"],
            bias=plan.common["bias"],
        )

    def step(self, tensors: Tensors, block: Block, plan: Plan) -> tuple[Tensor, None]:
        """Apply the network to every element."""
        layers = self.layers(tensors, plan)
        inputs = _inputs(block, block.accumulators["momenta"])
        inputs = torch.mul(inputs, block.segments.spread(plan.tensors["scale"]), out=block.over(inputs))
        hidden = block.layer("first", layers.first, inputs, layers.first_floor)
        hidden = block.layer("second", layers.second, hidden, layers.second_floor)
        direction, magnitude = layers.output @ hidden + layers.bias
        return step_of(direction, magnitude), None


def _inputs(block: Block, momenta: Tensor) -> Tensor:
    return torch.cat([block.gradients[None], block.params[None], momenta], out=block.room("inputs", VARYING))


def initial_layers(shapes: Mapping[str, tuple[int, ...]], generator: torch.Generator) -> dict[str, Tensor]:
    """Matrices [outputs, inputs] from N(0, 1 / inputs), vectors 0."""
    return {
        name: torch.randn(shape, generator=generator) / shape[-1] ** 0.5 if len(shape) > 1 else torch.zeros(shape)
        for name, shape in shapes.items()
    }
