"""A learned optimizer of normalised steps, which no unit of the loss, the gradients or the weights changes.

Each tensor moves along the momentum over the running root mean square of the gradient, as Adam does (Kingma & Ba 2015,
with the look ahead of Dozat 2016), times a factor that a small network gives each element; the whole direction is
divided by its root mean square over the tensor. How far it goes, relative to the size of the tensor's weights, is a
formula of its shape, of time and of the share of signal in its gradients, times a factor that a second network gives
each tensor. Both factors are bounded, and are 1 where the meta-parameters are 0: untrained, it is an optimizer already.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor

from learned_optimizers.architectures.base import Architecture, Block, Plan, Tensors
from learned_optimizers.architectures.features import Facts, running
from learned_optimizers.architectures.mlp import initial_layers
from learned_optimizers.architectures.tensor_features import (
    LEAST,
    MOMENTUM_SHARES,
    SQUARE_SHARES,
    TENSOR_FEATURES,
    Sides,
    TensorSums,
    brake,
    correction,
    first_losses,
    signal_shares,
    tensor_features,
    with_loss,
)

STEP = 0.15  # of the size of a vector's weights, before all factors
VECTOR = 0.3
WIDTH_POWER = 0.5  # of 1/sqrt(rows) + 1/sqrt(columns), the part of a step of equal size that is spectral
SIGNAL_POWER = 1.0  # of the share of signal in a tensor's gradients
WARM_UP, LONG = 10.0, 100.0  # steps over which steps grow, and after which they fall as 1/sqrt(time)
FLOORS = (
    0.2,
    0.5,
)  # least size: of a vector's elements, and of a matrix's that starts at 0 times the root of its wide side
MOST_CHANGE = 0.2  # of the size of a tensor's weights in a step
BOUND = 1.0  # of the logarithm of the learned factor on a tensor's step
LOOK_AHEAD = 0.9  # share of the momentum in the direction; the rest is the gradient
GRADIENT_FLOOR = 0.01  # of a tensor's gradients, beside each element's own
MOST_ELEMENT = 10.0  # times its own size that a gradient counts for
SPREAD = {"momenta": 3, "squares": 2, "floor": 1, "gradient_scale": 1, "param_scale": 1, "said": 3}
"""What a tensor gives its elements, and how many figures each is."""
ELEMENT_FEATURES, MIXED, HIDDEN, TENSOR_HIDDEN = 7, 3, 16, 32


class General(Architecture):
    """MLP 7 -> 16 -> 16 -> 3 on every element, 20 -> 32 -> 4 on every tensor."""

    shapes = MappingProxyType(
        {
            "tensor.input.weight": (TENSOR_HIDDEN, TENSOR_FEATURES),
            "tensor.input.bias": (TENSOR_HIDDEN,),
            "tensor.output.weight": (1 + MIXED, TENSOR_HIDDEN),
            "tensor.output.bias": (1 + MIXED,),
            "input.weight": (HIDDEN, ELEMENT_FEATURES),
            "input.bias": (HIDDEN,),
            "hidden.weight": (HIDDEN, HIDDEN),
            "hidden.bias": (HIDDEN,),
            "output.weight": (MIXED, HIDDEN),
        }
    )
    accumulators = MappingProxyType({"momenta": len(MOMENTUM_SHARES), "squares": len(SQUARE_SHARES)})
    shares = torch.cat([MOMENTUM_SHARES, SQUARE_SHARES])
    sums = 9
    is_normalised = True

    def initial_tensors(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return hidden weights from N(0, 1 / inputs), all else 0: both networks say 0."""
        drawn = initial_layers(self.shapes, generator)
        return {name: torch.zeros_like(value) if "output" in name else value for name, value in drawn.items()}

    def initial_shared(self, tensors: Tensors) -> dict[str, Tensor]:
        """Return running figures of the loss, 0."""
        return first_losses(tensors["input.bias"][0])

    def initial_of_tensors(self, tensors: Tensors, count: int) -> dict[str, Tensor]:
        """Return the number of steps and the size that weights had at the first, both 0."""
        nothing = tensors["input.bias"].new_zeros(count, 1)
        return {"steps": nothing, "first_size": nothing.clone()}

    def observe_training(self, shared: Tensors, loss: Tensor | None) -> dict[str, Tensor]:
        """Update running means of the loss; without one the trend stays what it was, at first none."""
        return dict(shared) if loss is None else with_loss(shared, loss)

    def accumulate(self, tensors: Tensors, block: Block, of_tensors: Tensors) -> tuple[dict[str, Tensor], Tensor]:
        """Momenta and running squares; sums of squares and of two products over each tensor."""
        gradients, before = block.gradients, block.accumulators
        agreement = gradients * before["momenta"][1]  # with what was there before it
        momenta = running(before["momenta"], gradients, MOMENTUM_SHARES, out=block.over(before["momenta"]))
        squares = running(before["squares"], gradients.square(), SQUARE_SHARES, out=block.over(before["squares"]))
        plain = torch.stack([gradients, block.params, *momenta])
        products = torch.stack([*squares, agreement, momenta[1] * momenta[2]])
        sums = torch.cat([block.segments.total_squares(plain), block.segments.total(products)], -1)
        return {"momenta": momenta, "squares": squares}, sums

    def plan(
        self, tensors: Tensors, of_tensors: Tensors, shared: Tensors, sums: Tensor, facts: Facts
    ) -> tuple[Plan, dict[str, Tensor], dict[str, Tensor]]:
        """Run the network over tensors: how far each goes, and what it adds to its elements' outputs."""
        count = of_tensors["steps"] + 1
        momentum_scale, square_scale = correction(MOMENTUM_SHARES, count), correction(SQUARE_SHARES, count)
        means = TensorSums.of(sums, facts.sizes, momentum_scale, square_scale)
        sides, signals = Sides.of(facts), signal_shares(means)
        first_size = torch.where(count == 1, means.params.sqrt()[:, None], of_tensors["first_size"])
        least = least_size(sides, first_size[:, 0])
        reference = torch.maximum((means.params + LEAST).sqrt(), least)
        seen = tensor_features(means, shared, count, sides, least, signals)
        hidden = torch.tanh(seen @ tensors["tensor.input.weight"].T + tensors["tensor.input.bias"])
        said = hidden @ tensors["tensor.output.weight"].T + tensors["tensor.output.bias"]
        factor = torch.exp(BOUND * torch.tanh(said[:, 0] / BOUND))
        change = (designed_change(sides, signals, count[:, 0]) * brake(shared) * factor).clamp(max=MOST_CHANGE)
        mean_square = means.squares.mean(-1, keepdim=True)
        figures = {
            "momenta": momentum_scale,
            "squares": square_scale / square_scale.shape[1],
            "floor": GRADIENT_FLOOR**2 * mean_square + LEAST,
            "gradient_scale": (mean_square + LEAST).rsqrt(),
            "param_scale": (means.params + LEAST).rsqrt()[:, None],
            "said": said[:, 1:],
        }
        of_elements = torch.cat([figures[name] for name in SPREAD], -1)
        length = (change * reference * facts.sizes.sqrt())[:, None]
        plan = Plan({"of_elements": of_elements, "length": length}, {})
        return plan, {"steps": count, "first_size": first_size}, dict(shared)

    def step(self, tensors: Tensors, block: Block, plan: Plan) -> tuple[Tensor, Tensor]:
        """Return the direction of every element, and the sum of its squares over each tensor."""
        rows = torch.split(block.segments.spread(plan.tensors["of_elements"]), list(SPREAD.values()))
        spread = dict(zip(SPREAD, rows, strict=True))
        ratios, root = _ratios(block, spread)
        hidden = torch.relu(
            tensors["input.weight"] @ _features(block, ratios, root, spread) + tensors["input.bias"][:, None]
        )
        hidden = torch.relu(torch.addmm(tensors["hidden.bias"][:, None], tensors["hidden.weight"], hidden))
        factor, newest, slowest = torch.tanh(tensors["output.weight"] @ hidden + spread["said"])
        direction = torch.lerp(ratios[0], ratios[2], LOOK_AHEAD) * factor.exp()
        direction = direction + 0.5 * newest * ratios[0] + 0.5 * slowest * ratios[3]
        return direction, block.segments.total_squares(direction[None])

    def factors(self, plan: Plan, sums: Tensor) -> Tensor:
        """What a tensor's direction is multiplied with, [k, 1]: it then has the planned length."""
        return plan.tensors["length"] / (sums + LEAST).sqrt()


def least_size(sides: Sides, first_size: Tensor) -> Tensor:
    """Return what counts as the size of weights that are smaller: [k].

    first_size: of weights at their first step, [k]; a matrix has it as its least size, in whatever unit its weights
    are. A matrix that starts at 0 has no unit, and biases often start at 0: for these it is of their shape.
    """
    vector, matrix = FLOORS
    of_matrix = torch.where(first_size > 0, first_size, matrix * torch.exp(-0.5 * sides.wide))
    return torch.where(sides.is_vector, vector, of_matrix)


def designed_change(sides: Sides, signals: Tensor, count: Tensor) -> Tensor:
    """Return the change of each tensor relative to its weights that is no part of what is learned: [k].

    Steps grow over the first ones and fall as 1/sqrt(time) later; they are smaller for wide matrices, whose largest
    singular value a step changes by more, and where gradients are noise.
    """
    spectral = torch.exp(-0.5 * sides.narrow) + torch.exp(-0.5 * sides.wide)
    of_width = torch.where(sides.is_vector, VECTOR, spectral) ** WIDTH_POWER
    of_time = torch.expm1(-count / WARM_UP).square() / torch.sqrt(1 + count / LONG)
    of_signal = signals[:, 1].clamp(max=1) ** SIGNAL_POWER
    return STEP * of_width * of_time * of_signal


def _ratios(block: Block, spread: Tensors) -> tuple[Tensor, Tensor]:
    """Return gradient and momenta over the running root mean square of each element, [4, n], and that root [n]."""
    squares = (block.accumulators["squares"] * spread["squares"]).sum(0)
    root = (squares + spread["floor"][0]).sqrt()
    rows = torch.cat([block.gradients[None], block.accumulators["momenta"] * spread["momenta"]])
    return (rows / root).clamp(-MOST_ELEMENT, MOST_ELEMENT), root


def _features(block: Block, ratios: Tensor, root: Tensor, spread: Tensors) -> Tensor:
    """Return what an element's network reads, [7, n]: it stays where gradient, momenta and weight change their signs.

    The sizes of gradient and two momenta, how far they agree, its root among the tensor's, and the weight's size.
    """
    newest, _, middle, slowest = ratios
    sizes = torch.cat([ratios[[0, 2, 3]], (block.params * spread["param_scale"][0])[None]]).abs()
    agreement = torch.stack([newest * middle, middle * slowest])
    among = (root * spread["gradient_scale"][0]).log()[None] / 2
    return torch.cat([sizes / (1 + sizes), agreement / (1 + agreement.abs()), among])
