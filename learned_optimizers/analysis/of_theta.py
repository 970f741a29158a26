"""A learned optimizer as a function of one element, amid a tensor whose other elements are held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.optim import Optimizer

from learned_optimizers.analysis.step_function import Moment, StepFunction
from learned_optimizers.architectures.base import FACTOR, Block, Plan, State, Tensors
from learned_optimizers.architectures.features import Segments
from learned_optimizers.architectures.registry import COMPONENT_WISE, architecture
from learned_optimizers.optimizer import LearnedOptimizer
from learned_optimizers.theta import Theta

ELEMENTS = 64  # of the tensor that surrounds the element
LOSS = 1.0  # that an optimizer is shown which sees one


def theta_function(theta: Theta, name: str) -> StepFunction:
    """Read a learned optimizer as a function.

    Where elements see one another through their tensor (all but the GRUs), what the tensor tells them is that of
    64 other elements under constant gradients of root mean square `Moment.size`, with parameters from N(0, 1), after
    as many steps as `Moment.step` says; the training loss stays at 1. The element's own parameter is 0.

    >>> from learned_optimizers import new_theta
    >>> function = theta_function(new_theta("gru", generator=torch.Generator().manual_seed(0)), "new")
    >>> len(function.rows), function.after(3, torch.ones(2).double(), 1.0).shape
    (32, torch.Size([2, 32]))
    """
    return _ThetaFunction(theta, name)


class _Surroundings:
    """The tensor around an element, step by step: what it tells its elements in each."""

    def __init__(self, theta: Theta, tensors: Tensors, size: float) -> None:
        self.rule, self.tensors = architecture(theta.architecture), tensors
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randn(2, ELEMENTS, generator=generator, dtype=torch.float64)
        self.params, pattern = drawn.unbind()
        self.gradients = size * pattern / pattern.square().mean().sqrt()
        self.state: State = self.rule.initial_state(tensors, [self.params])
        self.passed: list[tuple[Plan, Tensors]] = []

    def at(self, step: int) -> tuple[Plan, Tensors]:
        """Return the plan of a step, and the tensor's state before it."""
        loss = torch.tensor(LOSS, dtype=torch.float64)
        while len(self.passed) <= step:
            before = self.state["tensors"]
            given = self.tensors, self.state, [self.params], [self.gradients]
            _, self.state, plan = self.rule.update_by_plan(*given, loss=loss)
            self.passed.append((plan, before))
        return self.passed[step]


class _ThetaFunction(StepFunction):
    def __init__(self, theta: Theta, name: str) -> None:
        self.name, self.theta = name, theta
        self._rule = architecture(theta.architecture)
        self._tensors = {key: tensor.detach().double() for key, tensor in theta.tensors.items()}
        self._counts = list(self._rule.accumulators.values())
        self.rows = tuple(
            f"{key} {place + 1}" for key, count in self._rule.accumulators.items() for place in range(count)
        )
        self._around: dict[float, _Surroundings] = {}

    def initial(self) -> Tensor:
        return torch.zeros(len(self.rows), dtype=torch.float64)

    @torch.no_grad()
    def __call__(self, states: Tensor, gradients: Tensor, moment: Moment) -> tuple[Tensor, Tensor]:
        plan, of_tensor = self._surroundings(moment)
        parts = zip(self._rule.accumulators, torch.split(states.T, self._counts), strict=True)
        block = Block(torch.zeros_like(gradients), gradients, dict(parts), Segments(1))
        accumulators, _ = self._rule.accumulate(self._tensors, block, of_tensor)
        update, _ = self._rule.step(self._tensors, replace(block, accumulators=accumulators), plan)
        if FACTOR in plan.tensors:
            update = update * plan.tensors[FACTOR][0, 0]
        return torch.cat([accumulators[key] for key in self._rule.accumulators]).T, update

    def _surroundings(self, moment: Moment) -> tuple[Plan, Tensors]:
        if self.theta.architecture in COMPONENT_WISE:
            return Plan({}, {}), {}
        if moment.size not in self._around:
            self._around[moment.size] = _Surroundings(self.theta, self._tensors, moment.size)
        return self._around[moment.size].at(moment.step)

    def make(self, params: Sequence[Tensor]) -> Optimizer:
        return LearnedOptimizer(list(params), self.theta)

    def read(self, optimizer: Optimizer, params: Sequence[Tensor]) -> Tensor:
        states = [optimizer.state[param] for param in params]
        return torch.cat([torch.cat([state[key] for key in self._rule.accumulators]).T for state in states])
