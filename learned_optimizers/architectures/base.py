"""The two passes of a learned optimizer over its elements, and what comes before, between and after them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from learned_optimizers.architectures.features import Facts, Segments

Tensors = Mapping[str, Tensor]
FACTOR = "factor"  # name of what a tensor's steps were multiplied with, in its plan
State = dict[str, dict[str, Tensor]]
"""elements: name -> [c, n] of all elements.  tensors: name -> [k, ...].  shared: name -> [...]."""


class Memory:
    """Room for blocks of up to `size` elements, used by one after the other.

    Fresh memory for each would cost more than the arithmetic in it.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._whole: dict[str, Tensor] = {}
        self._parts: dict[tuple[str, int], Tensor] = {}

    def rows(self, name: str, count: int, like: Tensor) -> Tensor:
        """Room for [count, n] beside `like` [n], with anything in it; a name has one count."""
        key = name, like.shape[0]
        if key not in self._parts:
            if name not in self._whole:
                self._whole[name] = like.new_empty(count * self.size)
            self._parts[key] = self._whole[name][: count * like.shape[0]].view(count, -1)
        return self._parts[key]


@dataclass(frozen=True, eq=False)
class Block:
    """Elements that are computed together. params, gradients: [n].  accumulators: name -> [c, n].

    memory: where results are written, those of the accumulators in their place; None where all results must be new.
    """

    params: Tensor
    gradients: Tensor
    accumulators: Tensors
    segments: Segments
    memory: Memory | None = None

    def room(self, name: str, count: int, *, flat: bool = False) -> Tensor | None:
        """Where [count, n] can be written. flat: as [count * n]."""
        if self.memory is None:
            return None
        rows = self.memory.rows(name, count, self.params)
        return rows.view(-1) if flat else rows

    def over(self, rows: Tensor) -> Tensor | None:
        """Return the rows themselves, where they may be written over."""
        return None if self.memory is None else rows

    def layer(self, name: str, weight: Tensor, rows: Tensor, floor: Tensor) -> Tensor:
        """A hidden layer max(W x + b, 0) without the last b of max(W x, -b) + b, [h, n]: one pass over it less.

        What was left out goes into the next layer's bias, by `bias_after`. floor: -b, [h, 1].
        """
        product = torch.mm(weight, rows, out=self.room(name, weight.shape[0]))
        return torch.maximum(product, floor, out=self.over(product))


def bias_after(before: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the bias W b + c of a layer (W, c) after one that left out its own b: [..., h] -> [..., outputs]."""
    return before @ weight.T + bias


@dataclass(frozen=True, eq=False)
class Plan:
    """What the second pass needs beside its elements. tensors: name -> [k, c].  common: the same for all tensors."""

    tensors: Tensors
    common: Tensors

    def part(self, members: slice) -> Plan:
        """Take those of some of the tensors."""
        return replace(self, tensors={name: figures[members] for name, figures in self.tensors.items()})

    def to(self, like: Tensor) -> Plan:
        """Convert to the dtype and device of a tensor."""
        return Plan(
            *({name: figures.to(like) for name, figures in part.items()} for part in (self.tensors, self.common))
        )


@dataclass(frozen=True, eq=False)
class NetworkLayers:
    """The network on the scaled inputs x of an element, after `plan`; weights are [outputs, inputs].

    direction, magnitude = output b + bias, b = max(second a, second_floor), a = max(first x + start, first_floor).
    start: of each tensor, [k, h]; None for 0.  floors: [h, 1].  bias: [2, 1].  message: of what a tensor's elements say
    together, message b, [m, h]; None where they say nothing.
    """

    first: Tensor
    first_floor: Tensor
    second: Tensor
    second_floor: Tensor
    output: Tensor
    bias: Tensor
    start: Tensor | None = None
    message: Tensor | None = None


class Architecture(ABC):
    """A learned optimizer without its meta-parameters; all methods are pure, for vmap and for derivatives.

    shapes: of the meta-parameters by name; their order is that of `Theta.vector`.
    accumulators: element state by name -> how many an element; all start at 0.  shares: 1 - decay of each,
    or of one name's and then of the other's, [c, 1].
    sums: how many figures of a tensor `accumulate` gives.
    is_compiled: the compiled passes can take it.  is_normalised: steps are multiplied by what `factors` says.
    """

    shapes: Mapping[str, tuple[int, ...]]
    accumulators: Mapping[str, int]
    shares: Tensor
    sums: int
    is_compiled: bool = True
    is_normalised: bool = False

    @abstractmethod
    def initial_tensors(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Meta-parameters before any training."""

    @abstractmethod
    def initial_shared(self, tensors: Tensors) -> dict[str, Tensor]:
        """State that all parameters share."""

    def initial_of_tensors(self, tensors: Tensors, count: int) -> dict[str, Tensor]:
        """State of each of `count` tensors: [count, ...]."""
        return {}

    def observe_training(self, shared: Tensors, loss: Tensor | None) -> dict[str, Tensor]:
        """Shared state after a look at the training loss. Raises ValueError where it needs one and there is none."""
        return dict(shared)

    def observe_validation(self, shared: Tensors, valid_loss: Tensor) -> dict[str, Tensor]:
        """Shared state after a look at the validation loss."""
        return dict(shared)

    def limit(self, of_tensors: Tensors) -> Tensor | None:
        """Return the size that each tensor's next gradient is clipped to, [k, 1]; None where it is not."""
        return None

    @abstractmethod
    def accumulate(self, tensors: Tensors, block: Block, of_tensors: Tensors) -> tuple[dict[str, Tensor], Tensor]:
        """First pass: new accumulators, and the sums over each tensor, [k, c], that `plan` needs."""

    @abstractmethod
    def plan(
        self, tensors: Tensors, of_tensors: Tensors, shared: Tensors, sums: Tensor, facts: Facts
    ) -> tuple[Plan, dict[str, Tensor], dict[str, Tensor]]:
        """Between the passes: what the second one needs, new state of the tensors, new shared state."""

    def layers(self, tensors: Tensors, plan: Plan) -> NetworkLayers:
        """Return the network of the second pass, which compiled code takes where `is_compiled`."""
        raise NotImplementedError(f"{type(self).__name__} has no compiled step")

    @abstractmethod
    def step(self, tensors: Tensors, block: Block, plan: Plan) -> tuple[Tensor, Tensor | None]:
        """Second pass, on new accumulators: what is subtracted [n], and sums over each tensor [k, c] for `finish`."""

    def factors(self, plan: Plan, sums: Tensor) -> Tensor:
        """What the steps of a tensor are multiplied with, [k, 1], once their sums over the tensor are known."""
        return torch.ones_like(sums[:, :1])

    def finish(self, of_tensors: Tensors, sums: Tensor | None, facts: Facts) -> dict[str, Tensor]:
        """State of the tensors after the second pass."""
        return dict(of_tensors)

    def initial_state(self, tensors: Tensors, params: Sequence[Tensor]) -> State:
        """State before the first step on tensors of any shapes."""
        elements = sum(param.numel() for param in params)
        return {
            "elements": {name: params[0].new_zeros(rows, elements) for name, rows in self.accumulators.items()},
            "tensors": self.initial_of_tensors(tensors, len(params)),
            "shared": self.initial_shared(tensors),
        }

    def update(
        self,
        tensors: Tensors,
        state: State,
        params: Sequence[Tensor],
        gradients: Sequence[Tensor],
        *,
        loss: Tensor | None = None,
        valid_loss: Tensor | None = None,
    ) -> tuple[list[Tensor], State]:
        """Return parameters and state after a step. Raises ValueError where shapes do not fit one another."""
        moved, state, _ = self.update_by_plan(tensors, state, params, gradients, loss=loss, valid_loss=valid_loss)
        return moved, state

    def update_by_plan(
        self,
        tensors: Tensors,
        state: State,
        params: Sequence[Tensor],
        gradients: Sequence[Tensor],
        *,
        loss: Tensor | None = None,
        valid_loss: Tensor | None = None,
    ) -> tuple[list[Tensor], State, Plan]:
        """Return parameters and state as `update`, and the plan that the elements followed.

        Where steps are normalised it holds what they were multiplied with, as FACTOR.
        """
        shapes = _checked_shapes(params, gradients, state)
        shared = state["shared"] if valid_loss is None else self.observe_validation(state["shared"], valid_loss)
        shared = self.observe_training(shared, loss)
        values = _flat(params)
        sizes = [param.numel() for param in params]
        facts, segments = Facts.of(shapes, values), Segments.of(sizes, values.device)
        block = Block(values, _flat(gradients), state["elements"], segments)
        accumulators, sums = self.accumulate(tensors, block, state["tensors"])
        plan, of_tensors, shared = self.plan(tensors, state["tensors"], shared, sums, facts)
        step, outputs = self.step(tensors, replace(block, accumulators=accumulators), plan)
        if self.is_normalised and outputs is not None:
            factors = self.factors(plan, outputs)
            step, plan = step * segments.spread(factors)[0], replace(plan, tensors={**plan.tensors, FACTOR: factors})
        parts = torch.split(values - step, sizes)
        moved = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        of_tensors = self.finish(of_tensors, outputs, facts)
        return moved, {"elements": accumulators, "tensors": of_tensors, "shared": shared}, plan


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _checked_shapes(params: Sequence[Tensor], gradients: Sequence[Tensor], state: State) -> list[Any]:
    shapes = [param.shape for param in params]
    found = [gradient.shape for gradient in gradients]
    if not shapes or shapes != found or not all(param.numel() for param in params):
        raise ValueError(
            f"expected one gradient of its shape for each of one or more parameters with elements, found parameters "
            f"{[list(shape) for shape in shapes]} and gradients {[list(shape) for shape in found]}"
        )
    elements = sum(param.numel() for param in params)
    for name, rows in state["elements"].items():
        if rows.shape[-1] != elements:
            raise ValueError(f"expected state of {elements} elements, found {name} of {rows.shape[-1]}")
    return shapes
