"""An LSTM over tensors that steers a network over their elements (Metz et al. 2020, arXiv 2009.11243): 35,799.

Of these meta-parameters 35,637 are weights, 34 the first messages to the LSTM (16 from a tensor's elements, 18 from all
tensors) and 128 its first state. It sees the training loss and, where it is shown, the validation loss.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor

from learned_optimizers.architectures.base import Architecture, Block, NetworkLayers, Plan, Tensors, bias_after
from learned_optimizers.architectures.features import (
    SMALLEST,
    TIMESCALES,
    TINY,
    Facts,
    log_abs,
    reciprocal_rms,
    running,
    sine_time,
    step_of,
)
from learned_optimizers.architectures.mlp import HIDDEN, initial_layers

MOMENT_SHARES = (
    1 - torch.tensor([0.5, 0.9, 0.99, 0.999, 0.9999], dtype=torch.float64)[:, None]
)  # 1 - decay of the moments
TRAIN_DECAY, VALID_DECAY, CLIP_DECAY = 0.9, 0.95, 0.99
MOST_FEATURE = 5.0  # largest size of a loss feature and of a logarithm that the LSTM sees
CLIP = 10.0  # of the running root mean square of a tensor's gradient
MLP_INPUTS = 3 + 4 * len(MOMENT_SHARES)  # inputs of the MLP that differ from element to element
PARAMS, MOMENTA, SQUARES, SUMMED = 1, slice(3, 8), slice(13, 18), slice(18)  # some of them
OF_TENSOR = len(TIMESCALES) + 3  # inputs that do not differ, without the message
SEEN = 18  # what the LSTM sees of a tensor beside messages
UP, AROUND, DOWN = 16, 18, 17  # messages: elements to LSTM, all tensors to LSTM, LSTM to elements
LSTM = 64


class Hierarchical(Architecture):
    """LSTM 52 -> 64 on every tensor; MLP 54 -> 32 -> 32 -> 18 on every element: direction, magnitude and a message."""

    shapes = MappingProxyType(
        {
            "lstm.input": (4 * LSTM, SEEN + UP + AROUND),
            "lstm.hidden": (4 * LSTM, LSTM),
            "lstm.bias": (4 * LSTM,),
            "around.weight": (AROUND, LSTM),
            "around.bias": (AROUND,),
            "down.weight": (DOWN, LSTM),
            "down.bias": (DOWN,),
            "input.weight": (HIDDEN, MLP_INPUTS + OF_TENSOR + DOWN),
            "input.bias": (HIDDEN,),
            "hidden.weight": (HIDDEN, HIDDEN),
            "hidden.bias": (HIDDEN,),
            "output.weight": (2 + UP, HIDDEN),
            "output.bias": (2 + UP,),
            "first.up": (UP,),
            "first.around": (AROUND,),
            "first.hidden": (LSTM,),
            "first.cell": (LSTM,),
        }
    )
    accumulators = MappingProxyType({"momenta": len(MOMENT_SHARES), "squares": len(MOMENT_SHARES)})
    shares = MOMENT_SHARES
    sums = MLP_INPUTS + 1 + SUMMED.stop

    def initial_tensors(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return weights from N(0, 1 / inputs), the forget gate's bias 1 (Jozefowicz et al. 2015), the rest 0."""
        tensors = initial_layers(self.shapes, generator)
        tensors["lstm.bias"][LSTM : 2 * LSTM] = 1
        return tensors

    def initial_shared(self, tensors: Tensors) -> dict[str, Tensor]:
        """Return the number of steps and of validation losses, statistics of losses, message of all tensors."""
        zero = torch.zeros_like(tensors["input.bias"][0])
        names = ("step", "train_loss", "train_mean", "train_variance", "valid_mean", "valid_count")
        return {name: zero.clone() for name in names} | {"around": tensors["first.around"].clone()}

    def initial_of_tensors(self, tensors: Tensors, count: int) -> dict[str, Tensor]:
        """Return the size of gradients, state of the LSTM and message from the elements."""
        first = {name: tensors[f"first.{name}"].repeat(count, 1) for name in ("up", "hidden", "cell")}
        return first | {"gradient_rms": torch.ones_like(first["up"][:, :1])}

    def observe_training(self, shared: Tensors, loss: Tensor | None) -> dict[str, Tensor]:
        """Update its running mean and variance, from 0 (Kingma & Ba 2015); the variance is about the corrected mean."""
        if loss is None:
            raise ValueError("expected the training loss, which the hierarchical optimizer sees: step(loss=...)")
        loss = loss.to(shared["train_mean"])
        mean = torch.lerp(loss, shared["train_mean"], TRAIN_DECAY)
        centre = mean / _correction(TRAIN_DECAY, shared["step"] + 1)
        variance = torch.lerp((loss - centre).square(), shared["train_variance"], TRAIN_DECAY)
        return {**shared, "train_loss": loss, "train_mean": mean, "train_variance": variance}

    def observe_validation(self, shared: Tensors, valid_loss: Tensor) -> dict[str, Tensor]:
        """Update its running mean, from 0."""
        mean = torch.lerp(valid_loss.to(shared["valid_mean"]), shared["valid_mean"], VALID_DECAY)
        return {**shared, "valid_mean": mean, "valid_count": shared["valid_count"] + 1}

    def limit(self, of_tensors: Tensors) -> Tensor:
        """Limit a gradient by what was there before it: an outlier does not widen its own limit."""
        return CLIP * of_tensors["gradient_rms"]

    def accumulate(self, tensors: Tensors, block: Block, of_tensors: Tensors) -> tuple[dict[str, Tensor], Tensor]:
        """Moments of clipped gradients; sums of squares of the inputs and of the raw gradients, sums of some inputs."""
        clipped, before = _clipped(block, self.limit(of_tensors)), block.accumulators
        squared = torch.square(clipped.gradients, out=block.room("squared", 1, flat=True))
        moments = {
            "momenta": running(before["momenta"], clipped.gradients, MOMENT_SHARES, out=block.over(before["momenta"])),
            "squares": running(before["squares"], squared, MOMENT_SHARES, out=block.over(before["squares"])),
        }
        inputs, segments = _inputs(replace(clipped, accumulators=moments)), block.segments
        squares = [segments.total_squares(inputs), segments.total_squares(block.gradients[None])]
        return moments, torch.cat([*squares, segments.total(inputs[SUMMED])], dim=-1)

    def plan(
        self, tensors: Tensors, of_tensors: Tensors, shared: Tensors, sums: Tensor, facts: Facts
    ) -> tuple[Plan, dict[str, Tensor], dict[str, Tensor]]:
        """Make one step of the LSTM on every tensor."""
        messages = [of_tensors["up"], shared["around"].expand(len(sums), AROUND)]
        seen = torch.cat([_seen(sums, facts), _loss_scores(shared).expand(len(sums), 2), *messages], dim=-1)
        hidden, cell = _lstm(tensors, seen, of_tensors["hidden"], of_tensors["cell"])
        rms = of_tensors["gradient_rms"]
        figures = {
            "scale": reciprocal_rms(sums[:, :MLP_INPUTS], facts.sizes),
            "bias": _bias(tensors, shared["step"], sums, facts, hidden),
            "limit": self.limit(of_tensors),
        }
        bias = bias_after(tensors["hidden.bias"], tensors["output.weight"], tensors["output.bias"])
        common = {"floor": -tensors["hidden.bias"][:, None], "bias": bias[:2, None]}
        mean_square = sums[:, MLP_INPUTS : MLP_INPUTS + 1] / facts.sizes[:, None]
        of_tensors = {
            "up": bias[2:].expand(len(sums), UP),  # the rest comes from the elements
            "hidden": hidden,
            "cell": cell,
            "gradient_rms": torch.lerp((mean_square + TINY).sqrt(), rms, CLIP_DECAY),
        }
        around = (hidden @ tensors["around.weight"].T + tensors["around.bias"]).mean(0)
        return Plan(figures, common), of_tensors, {**shared, "around": around, "step": shared["step"] + 1}

    def layers(self, tensors: Tensors, plan: Plan) -> NetworkLayers:
        """The first layer has its bias, the second has not."""
        floor, output = plan.common["floor"], tensors["output.weight"]
        return NetworkLayers(
            first=tensors["input.weight"][:, :MLP_INPUTS],
            start=plan.tensors["bias"],
            first_floor=torch.zeros_like(floor),
            second=tensors["hidden.weight"],
            second_floor=floor,
            output=output[:2],
            bias=plan.common["bias"],
            message=output[2:],
        )

    def step(self, tensors: Tensors, block: Block, plan: Plan) -> tuple[Tensor, Tensor]:
        """Apply the MLP to every element, and sum its messages."""
        spread, inputs = block.segments.spread, _inputs(_clipped(block, plan.tensors["limit"]))
        inputs = torch.mul(inputs, spread(plan.tensors["scale"]), out=block.over(inputs))
        hidden = torch.mm(tensors["input.weight"][:, :MLP_INPUTS], inputs, out=block.room("first", HIDDEN))
        hidden = torch.add(hidden, spread(plan.tensors["bias"]), out=block.over(hidden)).relu_()
        hidden = block.layer("second", tensors["hidden.weight"], hidden, plan.common["floor"])
        outputs = torch.mm(tensors["output.weight"], hidden, out=block.room("outputs", 2 + UP))
        direction, magnitude = outputs[:2] + plan.common["bias"]
        return step_of(direction, magnitude), block.segments.total(outputs[2:])

    def finish(self, of_tensors: Tensors, sums: Tensor | None, facts: Facts) -> dict[str, Tensor]:
        """Means of the elements' messages, for the next step of the LSTM."""
        return (
            dict(of_tensors) if sums is None else {**of_tensors, "up": of_tensors["up"] + sums / facts.sizes[:, None]}
        )


def _clipped(block: Block, limit: Tensor) -> Block:
    (most,) = block.segments.spread(limit)
    return replace(
        block, gradients=torch.clamp(block.gradients, -most, most, out=block.room("gradients", 1, flat=True))
    )


def _inputs(block: Block) -> Tensor:
    """Return the 23 inputs of the MLP that differ between elements, before they are scaled: [23, n]."""
    momenta, squares = block.accumulators["momenta"], block.accumulators["squares"]
    shifted = torch.add(squares, SMALLEST, out=block.room("roots", len(MOMENT_SHARES)))
    roots = torch.rsqrt(shifted, out=block.over(shifted))
    rated = torch.mul(momenta, roots, out=block.room("rated", len(MOMENT_SHARES)))
    plain = [row[None] for row in (block.gradients, block.params, log_abs(block.params))]
    return torch.cat([*plain, momenta, rated, squares, roots], out=block.room("inputs", MLP_INPUTS))


def _correction(decay: float, count: Tensor) -> Tensor:
    return 1 - decay**count


def _loss_scores(shared: Tensors) -> Tensor:
    """Training loss and running validation loss about the training loss's mean, in its standard deviations: [2]."""
    correction = _correction(TRAIN_DECAY, shared["step"] + 1)
    centre, deviation = shared["train_mean"] / correction, (shared["train_variance"] / correction + SMALLEST).sqrt()
    seen = shared["valid_count"] > 0
    valid = shared["valid_mean"] / torch.where(seen, _correction(VALID_DECAY, shared["valid_count"]), 1)
    scores = torch.stack([shared["train_loss"] - centre, torch.where(seen, valid - centre, 0)]) / deviation
    return scores.clamp(-MOST_FEATURE, MOST_FEATURE)


def _seen(sums: Tensor, facts: Facts) -> Tensor:
    """Return what the LSTM sees of each tensor, but for the losses: [k, 16].

    Means and variances of momentum and second moment are over elements and decays together.
    """
    squares, gradients, plain = torch.split(sums, [MLP_INPUTS, 1, SUMMED.stop], dim=-1)
    means, powers = (
        torch.stack([figures[:, MOMENTA].mean(-1), figures[:, SQUARES].mean(-1), figures[:, PARAMS]]) / facts.sizes
        for figures in (plain, squares)
    )
    variances = (powers - means.square()).clamp(min=0)
    norms = (torch.stack([squares[:, PARAMS], gradients[:, 0]]) + TINY).sqrt()
    logarithms = log_abs(torch.cat([means, variances, norms])).clamp(-MOST_FEATURE, MOST_FEATURE)
    return torch.cat([logarithms, means.sign(), facts.scalar[None], facts.log_shape.T]).T


def _lstm(tensors: Tensors, seen: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Hochreiter & Schmidhuber 1997, with a forget gate; gates in the order input, forget, cell, output, one bias."""
    gates = seen @ tensors["lstm.input"].T + hidden @ tensors["lstm.hidden"].T + tensors["lstm.bias"]
    entering, kept, new, out = gates.chunk(4, dim=-1)
    cell = kept.sigmoid() * cell + entering.sigmoid() * new.tanh()
    return out.sigmoid() * cell.tanh(), cell


def _bias(tensors: Tensors, step: Tensor, sums: Tensor, facts: Facts, hidden: Tensor) -> Tensor:
    """Return what a tensor's elements have in common, through the MLP's first layer: [k, 32]."""
    count = len(sums)
    norm = 0.5 * torch.log(sums[:, PARAMS] + TINY)
    counted = facts.sizes.new_full((count,), float(count)).log() - 1
    common = torch.cat([sine_time(step).expand(count, -1), torch.stack([counted, norm, facts.sizes.log()]).T], dim=-1)
    message = hidden @ tensors["down.weight"].T + tensors["down.bias"]
    return torch.cat([common, message], dim=-1) @ tensors["input.weight"][:, MLP_INPUTS:].T + tensors["input.bias"]
