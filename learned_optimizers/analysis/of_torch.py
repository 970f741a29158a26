"""Any torch.optim.Optimizer as a function of one element, found out by steps on made-up gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from learned_optimizers.analysis.step_function import Moment, StepFunction

Maker = Callable[[list[Tensor]], Optimizer]

TRIED = torch.tensor([[0.7, -1.3, 0.2], [-0.4, 0.9, 1.6], [1.1, 0.3, -0.8]], dtype=torch.float64)  # made-up gradients
TOLERANCE = 1e-8


class _Around(NamedTuple):
    """What the step holds that is no element's own: numbers of a parameter's state, and the settings of its group."""

    numbers: Mapping[str, Any]
    group: Mapping[str, Any]


def torch_function(make: Maker, name: str) -> StepFunction:
    """Read an optimizer as a function. make: gives it for a list of parameters.

    Its step may depend on an element's own state and gradient, and on the number of steps; parameters are 0, so that
    decay of weights is not seen. Raises ValueError that says why where it is no such function, as LBFGS.

    >>> function = torch_function(lambda params: torch.optim.SGD(params, lr=0.5, momentum=0.9), "SGD")
    >>> function.rows
    ('momentum_buffer',)
    >>> _, update = function(torch.tensor([[2.0]]).double(), torch.tensor([1.0]).double(), Moment(1, 1.0))
    >>> round(update.item(), 6)  # 0.5 (0.9 * 2 + 1)
    1.4
    """
    found = _TorchFunction(make, name)
    found.check()
    return found


class _TorchFunction(StepFunction):
    def __init__(self, make: Maker, name: str) -> None:
        self.name, self._make, self._is_alone = name, make, False
        params, optimizer = self._stepped([torch.zeros_like(TRIED[0])])
        self.rows = tuple(self._rows(optimizer.state[params[0]]))
        state = optimizer.state[params[0]]
        self._first = torch.stack([state[row][0] for row in self.rows]) if self.rows else TRIED.new_zeros(0)
        self._clock, self._passed = optimizer, [self._around(optimizer, params[0])]

    def initial(self) -> Tensor:
        return self._first.clone()

    def make(self, params: Sequence[Tensor]) -> Optimizer:
        return self._make(list(params))

    def read(self, optimizer: Optimizer, params: Sequence[Tensor]) -> Tensor:
        states = [optimizer.state[param] for param in params]
        columns = [torch.cat([state[row].reshape(-1) for state in states]) for row in self.rows]
        elements = sum(param.numel() for param in params)
        return torch.stack(columns, dim=1) if columns else TRIED.new_zeros(elements, 0)

    def __call__(self, states: Tensor, gradients: Tensor, moment: Moment) -> tuple[Tensor, Tensor]:
        parts = list(torch.split(gradients, 1)) if self._is_alone else [gradients]
        params = [torch.zeros_like(part).requires_grad_() for part in parts]
        optimizer = self.make(params)
        if moment.step:  # before the first step there is no other state than the initial one
            self._put(optimizer, params, states, self._before(moment.step))
        for param, part in zip(params, parts, strict=True):
            param.grad = part.clone()
        optimizer.step()
        return self.read(optimizer, params), -torch.cat([param.detach() for param in params])

    def _put(self, optimizer: Optimizer, params: Sequence[Tensor], states: Tensor, around: _Around) -> None:
        optimizer.param_groups[0].update(copy.deepcopy(dict(around.group)))
        first = 0
        for param in params:
            own = states[first : first + len(param)]
            rows = {row: own[:, place].clone() for place, row in enumerate(self.rows)}
            optimizer.state[param] = {**copy.deepcopy(dict(around.numbers)), **rows}
            first += len(param)

    def _before(self, step: int) -> _Around:
        """What is no element's own after `step` steps; it may not depend on gradients, which are 0 here."""
        (param,) = self._clock.param_groups[0]["params"]
        while len(self._passed) < step:
            param.grad = torch.zeros_like(param)
            self._clock.step()
            self._passed.append(self._around(self._clock, param))
        return self._passed[step - 1]

    def _around(self, optimizer: Optimizer, param: Tensor) -> _Around:
        numbers = {name: value for name, value in optimizer.state[param].items() if name not in self.rows}
        group = {name: value for name, value in optimizer.param_groups[0].items() if name != "params"}
        return _Around(copy.deepcopy(numbers), copy.deepcopy(group))

    def _stepped(self, gradients: Sequence[Tensor]) -> tuple[list[Tensor], Optimizer]:
        """Steps of a new optimizer on one parameter."""
        params = [torch.zeros_like(gradients[0]).requires_grad_()]
        optimizer = self.make(params)
        for gradient in gradients:
            params[0].grad = gradient.clone()
            try:
                optimizer.step()
            except Exception as error:  # a user's own may raise anything
                said = " ".join(str(error).split())
                raise ValueError(f"{self.name} makes no step on a vector's gradient alone: {said}") from error
        return params, optimizer

    def _rows(self, state: Mapping[str, Any]) -> list[str]:
        found = []
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == TRIED[0].shape:
                found.append(name)
            elif not _is_number(value):
                kind = f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise ValueError(
                    f"{self.name} keeps {name}, {kind}: expected numbers, and tensors of the parameter's shape, so "
                    "that its step is a function of each element's state and gradient"
                )
        return found

    def check(self) -> None:
        """Raise ValueError where a step from the state that was read is not the optimizer's own next step."""
        params, optimizer = self._stepped(list(TRIED[:-1]))
        self._rows(optimizer.state[params[0]])
        states = self.read(optimizer, params)
        params[0].data.zero_()  # as in a call
        params[0].grad = TRIED[-1].clone()
        optimizer.step()
        expected = -params[0].detach()
        moment = Moment(len(TRIED) - 1, 1.0)
        _, alone = self(states[:1], TRIED[-1][:1], moment)
        after, together = self(states, TRIED[-1], moment)
        self._is_alone = not torch.allclose(alone, together[:1], rtol=TOLERANCE, atol=TOLERANCE)
        pairs = ((together, expected), (after, self.read(optimizer, params)))
        if not all(torch.allclose(*pair, rtol=TOLERANCE, atol=TOLERANCE) for pair in pairs):
            raise ValueError(
                f"{self.name}: a step from its state after two others is not its own third: expected an optimizer "
                "whose step depends on its state, the gradient and the number of steps alone"
            )


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float | str) or (isinstance(value, Tensor) and value.numel() == 1)
